"""Every command of the course: `python run.py TARGET [arguments]`; `make TARGET` calls this file.

Standard library only, since it runs before anything is installed. It keeps to the grammar of
Python 3.6, so that a Python too old for the course gets a sentence instead of a SyntaxError.
"""

import difflib
import errno
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
OLDEST_PYTHON = (3, 11)
OWN_PYTHON = sys.version_info[:2]
NEWER_PYTHONS = ("3.14", "3.13", "3.12", "3.11")
EXTRAS = "lab,test"
DISK_NEEDED = 3 * 10**9
FIRST_NOTEBOOK = "notebooks/00_start_here.ipynb"

Call = namedtuple("Call", "project args no_venv")


class SetupError(Exception):
    """The set-up cannot go on; the text says what was wrong, what was got and what to do."""


# ---------------------------------------------------------------- targets: functions and table


def course(call: Call) -> int:
    """Execute the whole course at class size and write the report."""
    return run_module(call, "bomrl_lite", "run", "--profile", "class")


def full(call: Call) -> int:
    """Execute the course at full size: more seeds, more tasks."""
    return run_module(call, "bomrl_lite", "run", "--profile", "full")


def lab(call: Call) -> int:
    """Open JupyterLab at the first notebook."""
    return run_module(call, "jupyterlab", FIRST_NOTEBOOK)


def test(call: Call) -> int:
    """Check lint, format, import floors and types, then run all tests."""
    return run_checks(call)


def test_fast(call: Call) -> int:
    """Do the same without the tests that need papermill or a browser."""
    return run_checks(call, "-m", "not papermill and not browser")


def browser(call: Call) -> int:
    """Run the tests that drive a real browser."""
    return run_module(call, "pytest", "-m", "browser")


def build(call: Call) -> int:
    """Build notebooks, exercises and solutions from their sources."""
    return run_module(call, "bomrl_lite", "build")


def bench(call: Call) -> int:
    """Measure speed and precision against the project's bars."""
    return run_module(call, "bomrl_lite", "bench")


def setup(call: Call) -> int:
    """Only set up: make .venv and install the pinned packages."""
    say(f"Set up: {ready_python(call)}")
    return 0


def clean(call: Call) -> int:
    """Remove .venv and caches; runs/ stays."""
    try:
        refuse_to_remove_own_python(call.project)
        for path in removable(call.project):
            remove(path)
    except OSError as error:
        raise SetupError(os_fault(error)) from error
    return 0


def show_help(call: Call) -> int:
    """List the targets."""
    targets = [f"  {name:<10} {function.__doc__}" for name, function in TARGETS.items()]
    say("\n".join([USAGE, *targets, NOTES]))
    return 0


TARGETS = {
    "help": show_help,
    "setup": setup,
    "course": course,
    "lab": lab,
    "test": test,
    "test-fast": test_fast,
    "browser": browser,
    "build": build,
    "bench": bench,
    "full": full,
    "clean": clean,
}

USAGE = "python run.py TARGET [--no-venv] [arguments]     or: make TARGET [ARGS=...]\n"
NOTES = """
Every target but help and clean first sets up .venv, which is instant once done.
--no-venv (or BOMRL_NO_VENV=1) uses the running Python, for conda users, and installs nothing."""

# lint-imports has no `python -m` form, and its script would break when the folder is moved.
LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"
CHECKS = (
    ("ruff check", ("-m", "ruff", "check", ".")),
    ("ruff format", ("-m", "ruff", "format", "--check", ".")),
    ("lint-imports", ("-c", LINT_IMPORTS)),
    ("basedpyright", ("-m", "basedpyright")),
)


def run_module(call: Call, *words: str) -> int:
    """Exit code of `python -m words` with the caller's arguments, after the set-up."""
    return run_child([ready_python(call), "-m", *words, *call.args], call.project)


def run_checks(call: Call, *selection: str) -> int:
    """Run every check, also after a failed one, then print one table; 1 if any failed."""
    python = ready_python(call)
    pytest = ("pytest", ("-m", "pytest", "-n", "auto", *selection, *call.args))
    results = [timed_step(python, name, words, call.project) for name, words in (*CHECKS, pytest)]
    say(f"\n{'step':<14} {'result':<7} {'seconds':>7}")
    for name, code, seconds in results:
        say(f"{name:<14} {'FAILED' if code else 'ok':<7} {seconds:>7.1f}")
    return int(any(code for _, code, _ in results))


def timed_step(python: str, name: str, words: tuple, project: Path) -> tuple:
    """Name, exit code and wall seconds of one check."""
    say(f"\n== {name}")
    start = time.monotonic()
    code = run_child([python, *words], project)
    return name, code, time.monotonic() - start


# ---------------------------------------------------------------- children and output


def say(text: str) -> None:
    """Print at once, so that our lines keep their place among a child's."""
    print(text, flush=True)


def run_child(command: list, project: Path) -> int:
    """Exit code of a command that shares this terminal; KeyboardInterrupt if Ctrl-C ended it."""
    interrupts = []
    # The child gets Ctrl-C too and may want to save or to ask first (JupyterLab does), so this
    # process only waits. A handler, not SIG_IGN: the child would inherit the latter.
    previous = signal.signal(signal.SIGINT, lambda *_: interrupts.append(True))
    try:
        code = subprocess.Popen(command, cwd=str(project), env=activated(command[0])).wait()
    finally:
        signal.signal(signal.SIGINT, previous)
    if code == -signal.SIGINT or (interrupts and code):
        raise KeyboardInterrupt
    return code if code >= 0 else 128 - code


def activated(python: str) -> dict:
    """Environment with this Python's folder first in PATH, where type checker and tests look."""
    path = os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", "")])
    return dict(os.environ, PATH=path)


# ---------------------------------------------------------------- which Python


def ready_python(call: Call) -> str:
    """Path of a Python that has the course installed."""
    if call.no_venv:
        return checked_own_python(call.project)
    return ensure_venv(call.project)


def checked_own_python(project: Path) -> str:
    """Path of the running Python, if `bomrl_lite` is installed in it."""
    # From another folder: in this one the sources would be found without being installed.
    probe = "import importlib.util as u, sys; sys.exit(u.find_spec('bomrl_lite') is None)"
    if subprocess.call([sys.executable, "-c", probe], cwd=tempfile.gettempdir()):
        raise SetupError(
            f"bomrl_lite is not installed in {sys.executable}, and --no-venv installs nothing.\n"
            f"What to do, in {project}:\n"
            f'    {sys.executable} -m pip install -c constraints.txt -e ".[{EXTRAS}]"\n'
            "or leave out --no-venv (and BOMRL_NO_VENV), and .venv is made for you."
        )
    return sys.executable


def old_python_message(version: tuple, executable: str) -> str:
    """What to tell someone whose Python is too old for the course."""
    newer = newer_python()
    advice = f"run  {newer} run.py TARGET  or  make TARGET PYTHON={newer}"
    if not newer:
        advice = (
            "install a newer one (python.org, your system's packages, or conda with\n"
            "environment.yml), then run  python3.11 run.py TARGET  or  make TARGET "
            "PYTHON=python3.11  (Windows: py -3.11 run.py TARGET)."
        )
    return (
        f"Python {dotted(OLDEST_PYTHON)} or newer is needed, this is {dotted(version[:3])} "
        f"at {executable}.\nWhat to do: {advice}"
    )


def newer_python() -> str:
    """Path of an installed Python that is new enough, or "" if PATH holds none."""
    for version in NEWER_PYTHONS:
        found = shutil.which("python" + version)
        # Asked, not trusted: version managers put commands in PATH that only print an error.
        if found and interpreter_version(found) == version:
            return found
    return ""


def interpreter_version(python: str) -> str:
    """Version "3.11" that this interpreter reports, or "" if it does not start."""
    probe = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run(
            [python, "-I", "-S", "-c", probe],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.decode().strip()


def dotted(version: tuple) -> str:
    """(3, 11) as "3.11"."""
    return ".".join(map(str, version))


# ---------------------------------------------------------------- set-up of .venv


def ensure_venv(project: Path) -> str:
    """Python of a complete .venv; the slow work is done only when the stamp does not match."""
    try:
        if read_text(stamp_file(project)) != fingerprint(project):
            set_up(project)
    except OSError as error:
        raise SetupError(os_fault(error)) from error
    return venv_python(project)


def set_up(project: Path) -> None:
    """Make or repair .venv, install the packages and leave the stamp."""
    fault = venv_fault(project)
    if fault:
        make_venv(project, fault)
    # Dropped first: a failed install must not leave the stamp of what was there before.
    write_atomically(stamp_file(project), "")
    forget_unfinished_packages(project)
    install_packages(project)
    write_atomically(stamp_file(project), fingerprint(project))


def fingerprint(project: Path) -> str:
    """Hash of all that decides what .venv holds; it changes when a new install is due."""
    digest = hashlib.sha256()
    for name in ("constraints.txt", "pyproject.toml"):
        digest.update((project / name).read_bytes())
    # The folder too: the editable install points at it, so a moved project needs a new one.
    digest.update(repr((interpreter_version(venv_python(project)), EXTRAS, str(project))).encode())
    return digest.hexdigest()


def venv_fault(project: Path) -> str:
    """Why the present .venv cannot be used, or "" if it can."""
    if not (project / ".venv").exists():
        return "there is none yet"
    version = interpreter_version(venv_python(project))
    made_for = re.search(r"version(?:_info)? *= *(\d+\.\d+)", read_text(config_file(project)))
    if not version or not made_for:
        return "its interpreter is missing or does not start"
    if made_for.group(1) != version:
        return f"it was made for Python {made_for.group(1)}, and its interpreter is now {version}"
    if tuple(map(int, version.split("."))) < OLDEST_PYTHON:
        return f"it holds Python {version}, and {dotted(OLDEST_PYTHON)} or newer is needed"
    if subprocess.call(
        [venv_python(project), "-m", "pip", "--version"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ):
        return "its pip does not start"
    return ""


def make_venv(project: Path, fault: str) -> None:
    """Make .venv anew, after checking what would stop it half-way."""
    refuse_missing_venv_module()
    refuse_to_remove_own_python(project)
    venv = project / ".venv"
    venv.mkdir(exist_ok=True)
    for entry in list(venv.iterdir()):
        remove(entry)
    refuse_full_disk(project)
    say(f"Making .venv with Python {dotted(sys.version_info[:3])}: {fault}.")
    run_logged([sys.executable, "-m", "venv", str(venv)], project)


def install_packages(project: Path) -> None:
    """Install the pinned packages and the course itself into .venv."""
    say("Installing the packages (the first time takes minutes); log: .venv/setup.log")
    pip = [venv_python(project), "-m", "pip", "install", "--progress-bar", "off"]
    run_logged([*pip, "-c", "constraints.txt", "-e", f".[{EXTRAS}]"], project)


def forget_unfinished_packages(project: Path) -> None:
    """Forget packages that a killed pip left half-copied, so that pip installs them again."""
    # INSTALLER is among the last files of a package to be written, METADATA is not.
    for folder in ("lib/python*", "Lib"):
        for info in (project / ".venv").glob(folder + "/site-packages/*.dist-info"):
            if not (info / "INSTALLER").is_file():
                remove(info)


def refuse_missing_venv_module() -> None:
    """Debian ships Python without the modules that make a virtual environment."""
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        raise SetupError(
            f"Python {dotted(sys.version_info[:3])} at {sys.executable} lacks the module "
            f"{' and '.join(missing)}, so it cannot make .venv.\n"
            f"What to do: on Debian and Ubuntu  sudo apt install python{dotted(OWN_PYTHON)}-venv  "
            "and run this again;\nwith conda see environment.yml and use --no-venv."
        )


def refuse_to_remove_own_python(project: Path) -> None:
    """Stop before .venv is emptied by the very Python that lives in it."""
    if Path(sys.prefix).resolve() == (project / ".venv").resolve():
        raise SetupError(
            f"This is the Python inside .venv ({sys.executable}), and .venv is to be removed.\n"
            "What to do: run `deactivate`, or start with a Python outside .venv."
        )


def refuse_full_disk(project: Path) -> None:
    """Check the space before minutes of downloads, not after."""
    free = shutil.disk_usage(str(project)).free
    if free < DISK_NEEDED:
        raise SetupError(
            f"The set-up needs about {DISK_NEEDED / 1e9:.0f} GB in {project}, and {free / 1e9:.1f} "
            "GB are free.\nWhat to do: free some space (`python -m pip cache purge` helps), or "
            "move the project to a larger disk;\nthen run this again."
        )


# ---------------------------------------------------------------- running pip, reading its words

DISK_ADVICE = (
    "the disk is full (this folder's, pip's cache or the temporary folder).",
    "free some space and run this again, it goes on where it stopped. TMPDIR=FOLDER and\n"
    "PIP_CACHE_DIR=FOLDER move the temporary files and the cache to a larger disk.",
)
DIAGNOSES = (
    (r"No space left on device|Errno 28|not enough space", *DISK_ADVICE),
    (
        r"ResolutionImpossible|conflicting dependencies",
        "constraints.txt and pyproject.toml contradict each other.",
        "undo your changes to them, or write constraints.txt anew (its first lines say how).",
    ),
    (
        r"from versions: none|connection error|ConnectionError|NewConnectionError|Max retries"
        r"|Connection refused|timed out|TimeoutError|ProxyError|SSLError|name resolution"
        r"|getaddrinfo failed|Name or service not known|unreachable",
        "pip could not reach its package index (no network?), or found nothing there.",
        "run this again when online: what was already fetched is cached, it goes on from there.\n"
        "Behind a proxy set HTTPS_PROXY=http://host:port; for a mirror PIP_INDEX_URL=https://...;\n"
        "without any network PIP_NO_INDEX=1 and PIP_FIND_LINKS=FOLDER, a folder of wheels.",
    ),
    (
        r"No matching distribution found",
        "the package index has no pinned version that fits this Python and system.",
        "try another Python (the course is tested with 3.11), or an up-to-date index: "
        "PIP_INDEX_URL=https://...",
    ),
    (
        r"Permission denied|Errno 13|Read-only file system",
        "a file could not be written.",
        "make sure that this folder and .venv are yours, or copy the project to your own folder.",
    ),
    (
        r"",
        "the reason is in the lines above.",
        "mend it and run this again, it goes on where it stopped. `python run.py clean` starts "
        "afresh.",
    ),
)
STEPS_SHOWN = re.compile(
    r"^ *(Collecting|Downloading|Using cached|Obtaining|Building|Preparing|Installing) .*",
    re.MULTILINE,
)


def run_logged(command: list, project: Path) -> None:
    """Run a long command with its output in the log; SetupError with advice if it fails."""
    start = time.monotonic()
    log = project / ".venv" / "setup.log"
    # PIP_USER: a user's own `user = true` would make pip refuse to install into .venv.
    env = dict(os.environ, PIP_USER="0", PIP_NO_INPUT="1", PIP_DISABLE_PIP_VERSION_CHECK="1")
    with log.open("wb") as sink:
        child = subprocess.Popen(
            command,
            cwd=str(project),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        follow(child, log, start)
    except BaseException:
        child.terminate()
        child.wait()
        raise
    if child.returncode:
        raise SetupError(failure_message(read_text(log)))
    say(f"  done in {time.monotonic() - start:.0f} s")


def follow(child: subprocess.Popen, log: Path, start: float) -> None:
    """Show the time and the latest step until the child ends."""
    live = sys.stdout.isatty()
    while True:
        try:
            child.wait(timeout=0.5 if live else 15)
            break
        except subprocess.TimeoutExpired:
            show_progress(f"  [{time.monotonic() - start:4.0f} s] {latest_step(log)}", live)
    if live:
        show_progress("", live)


def latest_step(log: Path) -> str:
    """The last line of the log that tells how far pip is."""
    steps = [found.group().strip() for found in STEPS_SHOWN.finditer(read_text(log))]
    return steps[-1] if steps else "starting"


def show_progress(line: str, live: bool) -> None:
    """Print a line; on a terminal each one overwrites the one before."""
    width = shutil.get_terminal_size().columns - 1
    if live:
        print("\r" + line[:width].ljust(width) + "\r", end="", flush=True)
    else:
        say(line[:100])


def failure_message(log_text: str) -> str:
    """The last lines of a failed command, what they mean and what to do."""
    tail = [line[:160] for line in log_text.strip().splitlines()[-8:]]
    wrong, advice = next(
        (wrong, advice) for pattern, wrong, advice in DIAGNOSES if re.search(pattern, log_text)
    )
    lines = ["The set-up stopped. The last lines of .venv/setup.log:", *tail]
    return "\n    ".join(lines) + f"\nWhat was wrong: {wrong}\nWhat to do: {advice}"


def os_fault(error: OSError) -> str:
    """The same for a file operation of our own that failed."""
    if error.errno == errno.ENOSPC:
        return "Stopped: {}\nWhat to do: {}".format(*DISK_ADVICE)
    return (
        f"Stopped: {error}\nWhat to do: make sure that the project folder is complete, and that it "
        "and .venv are yours\nto write (`ls -ld . .venv`); or copy the project to a folder of your "
        "own. Then run this again."
    )


# ---------------------------------------------------------------- files


def venv_python(project: Path) -> str:
    """Where .venv keeps its interpreter on this system."""
    windows = os.name == "nt"
    return str(project / ".venv" / ("Scripts/python.exe" if windows else "bin/python"))


def stamp_file(project: Path) -> Path:
    """Holds the fingerprint of the last install that succeeded."""
    return project / ".venv" / ".bomrl-setup"


def config_file(project: Path) -> Path:
    """Holds, among others, the version of the Python that made .venv."""
    return project / ".venv" / "pyvenv.cfg"


def read_text(path: Path) -> str:
    """Text of a file, or "" if there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def write_atomically(path: Path, text: str) -> None:
    """Write so that a reader finds the old text or the new one, never a part."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def removable(project: Path) -> list:
    """What `clean` removes; other people's folders (runs/, .git) are not searched."""
    tops = (".venv", "build", ".pytest_cache", ".ruff_cache", ".hypothesis", ".import_linter_cache")
    found = [project / name for name in tops] + list(project.glob("*.egg-info"))
    for folder in project.iterdir():
        if folder.is_dir() and folder.name not in (*tops, "runs", ".git"):
            found += [*folder.rglob("__pycache__"), *folder.rglob(".ipynb_checkpoints")]
    found += [project / "__pycache__", project / ".ipynb_checkpoints"]
    return [path for path in found if path.exists() or path.is_symlink()]


def remove(path: Path) -> None:
    """Remove a file, a link or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(str(path))
    else:
        path.unlink()


# ---------------------------------------------------------------- command line


def parse(argv: list, project: Path) -> tuple:
    """Target name and call described by the command line and BOMRL_NO_VENV."""
    words = [word for word in argv if word != "--no-venv"]
    no_venv = len(words) < len(argv) or os.environ.get("BOMRL_NO_VENV", "0") not in ("", "0")
    name = words[0] if words else "help"
    return "help" if name in ("-h", "--help") else name, Call(project, words[1:], no_venv)


def dispatch(argv: list, project: Path) -> int:
    """Run the target that the command line names."""
    name, call = parse(argv, project)
    if name not in TARGETS:
        close = difflib.get_close_matches(name, TARGETS, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise SetupError(f"There is no target {name!r}: {hint}`python run.py help` lists all.")
    if OWN_PYTHON < OLDEST_PYTHON and name != "help":
        raise SetupError(old_python_message(sys.version_info, sys.executable))
    return TARGETS[name](call)


def main(argv: list, project: Path = PROJECT) -> int:
    """Exit code of one command line; every expected failure ends in a plain message."""
    try:
        return dispatch(argv, project)
    except SetupError as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on or starts again.", file=sys.stderr, flush=True)
        return 130
    except BrokenPipeError:
        # The reader, such as `head`, has left; Python's own last flush must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
