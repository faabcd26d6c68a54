"""Every command of the course: `python run.py TARGET [arguments]`; `make TARGET` calls this file.

Standard library only, since it runs before anything is installed. It keeps to the grammar of
Python 3.6, so that a Python too old for the course gets a sentence instead of a SyntaxError.
"""

import hashlib
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
OLDEST_PYTHON = (3, 11)
EXTRAS = "lab,classroom,ray,test,site"
UNFINISHED = "unfinished"  # the marker while pip runs

# lint-imports has no `python -m` form, and its script would break when the folder is moved.
LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"
CHECKS = (
    ("ruff check", ("-m", "ruff", "check", ".")),
    ("ruff format", ("-m", "ruff", "format", "--check", ".")),
    ("lint-imports", ("-c", LINT_IMPORTS)),
    ("basedpyright", ("-m", "basedpyright")),
)
# A file stays with one worker, which makes what its tests share once.
PYTEST = "-m pytest -n auto --dist loadfile --no-loadscope-reorder"
FAST = '-m "not papermill and not browser"'
# No execution: the pages show the committed outputs. A warning is an error.
SITE = "-m sphinx --quiet --fail-on-warning --keep-going -c docs . build/site"

# What each target says in `help`, and what Python runs for it after the set-up.
TARGETS = {
    "help": ("list the targets", ""),
    "setup": ("only set up: make .venv and install the pinned packages", ""),
    "course": ("run all lessons at class size, report", "-m bomrl_lite run --profile class"),
    "lab": ("open JupyterLab at lesson 00", "-m jupyterlab notebooks/00_start_here.ipynb"),
    "test": ("check lint, format, import floors and types, then run all tests", PYTEST),
    "test-fast": ("the same without papermill and a browser", f"{PYTEST} {FAST}"),
    "browser": ("run the tests that drive a real browser", "-m pytest -m browser"),
    "build": ("build notebooks, exercises, solutions from their sources", "-m bomrl_lite build"),
    "site": ("make the pages of build/site: start at build/site/docs/index.html", SITE),
    "tables": (
        "make the first row of the slower stored tables anew (minutes)",
        "-m pytest tests/rows_again.py",
    ),
    "mutants": ("mutate the library; see that its tests notice (hours)", "tests/mutants.py"),
    "bench": ("measure speed and precision against the bars", "-m bomrl_lite bench"),
    "full": ("run all lessons at full size, report", "-m bomrl_lite run --profile full"),
    "clean": ("remove .venv and caches; runs/ stays", ""),
}
USAGE = "python run.py TARGET [--no-venv] [arguments]     or: make TARGET [ARGS=...]\n"
NOTES = """
Every target but help and clean first sets up .venv, which is instant once done.
--no-venv (or BOMRL_NO_VENV=1) uses the running Python, for conda users, and installs nothing."""

OLD_PYTHON = """Python {0} or newer is needed, this is {1} at {2}.
What to do: install a newer one (python.org, your system's packages, or conda with
environment.yml), then run  python{0} run.py TARGET  or  make TARGET PYTHON=python{0}
(Windows: py -{0} run.py TARGET)."""
NOT_INSTALLED = """bomrl_lite is not installed in {0}, and --no-venv installs nothing.
What to do, in {1}:
    {0} -m pip install -c constraints.txt -e ".[{2}]"
or leave out --no-venv (and BOMRL_NO_VENV), and .venv is made for you."""
FAILED = """The set-up stopped: {0} failed. Its reason stands above; pip's log is .venv/setup.log.
What to do: mend that and run this again; what was fetched is cached. Behind a proxy set
HTTPS_PROXY=http://host:port; for a mirror PIP_INDEX_URL=https://...; without a network
PIP_NO_INDEX=1 and PIP_FIND_LINKS=FOLDER, a folder of wheels. If the disk is full, TMPDIR=FOLDER
and PIP_CACHE_DIR=FOLDER move what pip needs beside .venv. Conda: environment.yml and --no-venv."""
OWN_VENV = """This is the Python inside .venv ({0}), and .venv is to be removed.
What to do: run `deactivate`, or start with a Python outside .venv."""
STOPPED = """Stopped: {0}
What to do: make sure that the project folder is complete, that it and .venv are yours to write,
and that the disk has room; then run this again."""


def say(text: str) -> None:
    """Print at once, so that our lines keep their place among a child's."""
    print(text, flush=True)


def run_child(command: list, project: Path, **settings: str) -> int:
    """Exit code of a command that shares this terminal; KeyboardInterrupt if Ctrl-C ended it."""
    # Its folder comes first in PATH: type checker and tests look for their Python there.
    path = os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", "")])
    interrupts = []
    # The child gets Ctrl-C too and may want to save or to ask first (JupyterLab does), so this
    # process only waits. A handler, not SIG_IGN: the child would inherit the latter.
    previous = signal.signal(signal.SIGINT, lambda *_: interrupts.append(True))
    try:
        environment = dict(os.environ, PATH=path, **settings)
        code = subprocess.Popen(command, cwd=str(project), env=environment).wait()
    finally:
        signal.signal(signal.SIGINT, previous)
    if code == -signal.SIGINT or (interrupts and code):
        raise KeyboardInterrupt
    return code if code >= 0 else 128 - code


def run_checks(python: str, pytest: list, project: Path) -> int:
    """Run every check, also after a failed one, then print one table; 1 if any failed."""
    rows = []
    for name, words in (*CHECKS, ("pytest", pytest)):
        say(f"\n== {name}")
        start = time.monotonic()
        result = "FAILED" if run_child([python, *words], project) else "ok"
        rows.append((name, result, f"{time.monotonic() - start:.1f}"))
    for row in (("step", "result", "seconds"), *rows):
        say("{:<14} {:<7} {:>7}".format(*row))
    return int(any(result == "FAILED" for _, result, _ in rows))


def own_python(project: Path) -> str:
    """Path of the running Python, if `bomrl_lite` is installed in it."""
    # From another folder: in this one the sources would be found without being installed.
    probe = "import importlib.util as u, sys; sys.exit(u.find_spec('bomrl_lite') is None)"
    if subprocess.call([sys.executable, "-c", probe], cwd=tempfile.gettempdir()):
        raise SystemExit(NOT_INSTALLED.format(sys.executable, project, EXTRAS))
    return sys.executable


def ensure_venv(project: Path) -> str:
    """Python of a complete .venv; the slow work is done only when the marker does not match."""
    python = str(project / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    marker = project / ".venv" / ".bomrl-setup"
    installed = marker.read_text() if marker.is_file() else ""
    # A killed pip leaves half-copied packages that the next pip would take for whole ones.
    works = installed != UNFINISHED and can_install(python)
    if works and installed == fingerprint(project):
        return python
    if not works:
        refuse_to_remove_own_python(project)
        say(f"Making .venv with Python {platform.python_version()}.")
        if run_child([sys.executable, "-m", "venv", "--clear", ".venv"], project):
            raise SystemExit(FAILED.format("python -m venv"))
    marker.write_text(UNFINISHED)
    install(python, project, marker)
    marker.write_text(fingerprint(project))
    return python


def can_install(python: str) -> bool:
    """Whether this interpreter starts, is new enough and has pip."""
    probe = f"import pip, sys; sys.exit(sys.version_info < {OLDEST_PYTHON})"
    try:
        return not subprocess.call([python, "-c", probe], stderr=subprocess.DEVNULL)
    except OSError:
        return False


def install(python: str, project: Path, marker: Path) -> None:
    """Install the pinned packages and the course itself; a failed pip leaves no marker."""
    say("Installing the packages (the first time takes minutes); log: .venv/setup.log")
    pip = [python, "-m", "pip", "install", "--log", ".venv/setup.log", "-c", "constraints.txt"]
    # A user's own `user = true` would make pip refuse to install into .venv.
    settings = {"PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if run_child([*pip, "-e", f".[{EXTRAS}]"], project, **settings):
        marker.unlink()
        raise SystemExit(FAILED.format("pip"))


def fingerprint(project: Path) -> str:
    """Hash of all that decides what .venv holds; it changes when a new install is due."""
    # The folder too: the editable install points at it, so a moved project needs a new one.
    digest = hashlib.sha256(f"{EXTRAS} {project}".encode())
    for name in ("constraints.txt", "pyproject.toml"):
        digest.update((project / name).read_bytes())
    return digest.hexdigest()


def refuse_to_remove_own_python(project: Path) -> None:
    """Stop before .venv is emptied by the very Python that lives in it."""
    if Path(sys.prefix).resolve() == (project / ".venv").resolve():
        raise SystemExit(OWN_VENV.format(sys.executable))


def clean(project: Path) -> int:
    """Remove .venv and caches; other people's folders (runs/, .git) are not searched."""
    refuse_to_remove_own_python(project)
    caches = ("__pycache__", ".ipynb_checkpoints")
    tops = (".venv", "build", ".pytest_cache", ".ruff_cache", ".hypothesis", ".import_linter_cache")
    found = [path for name in (*tops, *caches, "*.egg-info") for path in project.glob(name)]
    for folder in project.iterdir():
        if folder.is_dir() and folder.name not in (*tops, "runs", ".git"):
            found += [path for name in caches for path in folder.rglob(name)]
    for path in found:
        if path.is_symlink() or path.is_file():
            path.unlink()
        else:
            shutil.rmtree(str(path))
    return 0


def dispatch(argv: list, project: Path) -> int:
    """Run the target that the command line names."""
    words = [word for word in argv if word != "--no-venv"]
    no_venv = len(words) < len(argv) or os.environ.get("BOMRL_NO_VENV", "0") not in ("", "0")
    name, arguments = (words[0], words[1:]) if words else ("help", [])
    if name in ("help", "-h", "--help"):
        lines = [f"  {target:<10} {sentence}" for target, (sentence, _) in TARGETS.items()]
        say("\n".join([USAGE, *lines, NOTES]))
        return 0
    if name not in TARGETS:
        raise SystemExit(f"There is no target {name!r}; there are: {', '.join(TARGETS)}.")
    if sys.version_info < OLDEST_PYTHON:
        oldest = "%d.%d" % OLDEST_PYTHON
        raise SystemExit(OLD_PYTHON.format(oldest, platform.python_version(), sys.executable))
    if name == "clean":
        return clean(project)
    python = own_python(project) if no_venv else ensure_venv(project)
    words = [*shlex.split(TARGETS[name][1]), *arguments]
    if name == "setup":
        say(f"Set up: {python}")
        return 0
    if name in ("test", "test-fast"):
        return run_checks(python, words, project)
    return run_child([python, *words], project)


def main(argv: list, project: Path = PROJECT) -> int:
    """Exit code of one command line; every expected failure ends in a plain message."""
    try:
        return dispatch(argv, project)
    except BrokenPipeError:
        # The reader, such as `head`, has left; Python's own last flush must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1  # as Python itself
    except OSError as error:
        raise SystemExit(STOPPED.format(error)) from error
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on or starts again.", file=sys.stderr, flush=True)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
