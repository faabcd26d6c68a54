"""The set-up layer: run.py in small projects whose pip is a stub, once with the real pip."""

import ast
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = (ROOT / "run.py").read_text(encoding="utf-8")
SPEC = importlib.util.spec_from_file_location("run", ROOT / "run.py")
run = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(run)

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals, bash or make")

# Notes each install, then does what PIP_STUB says: nothing, fail with these words, or hang.
PIP_STUB = """
import os, sys, time
if "install" in sys.argv:
    with open("pip-calls", "a") as calls:
        calls.write(" ".join(sys.argv[1:]) + "\\n")
    words = os.environ.get("PIP_STUB", "")
    print(words)
    if words == "hang":
        time.sleep(60)
    sys.exit(bool(words))
"""
# Stands for the installed course: shows its arguments and ends with the code asked for.
COURSE_STUB = """
import os, sys
print("course", *sys.argv[1:])
sys.exit(int(os.environ.get("COURSE_STUB", "0")))
"""


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch):
    """Without what the caller, perhaps `make test ARGS=...`, hands down to every child."""
    for name in ("PIP_STUB", "COURSE_STUB", "BOMRL_NO_VENV", "MAKEFLAGS", "MAKELEVEL", "ARGS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path):
    """A project folder with what run.py reads, and no .venv."""
    folder = tmp_path / "project"
    (folder / "bomrl_lite").mkdir(parents=True)
    (folder / "bomrl_lite" / "__main__.py").write_text(COURSE_STUB)
    (folder / "constraints.txt").write_text("tiny==1.0\n")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\n'
        '[project]\nname = "bomrl-lite"\nversion = "0"\n'
        "[project.optional-dependencies]\nlab = []\ntest = []\n"
    )
    shutil.copy(ROOT / "run.py", folder)
    return folder


def site_packages(project):
    venv = str(project / ".venv")
    folder = sysconfig.get_path("purelib", "venv", vars={"base": venv, "platbase": venv})
    return Path(folder)


def make_stub_venv(project):
    """A real virtual environment with the stub in place of pip."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    pip = site_packages(project) / "pip"
    pip.mkdir()
    (pip / "__main__.py").write_text(PIP_STUB)


@pytest.fixture
def made(monkeypatch, project):
    """The project, where run.py's `python -m venv` gives a stub; `made` counts these calls."""
    real, calls = run.run_logged, []

    def run_logged(command, folder):
        if "venv" in command:
            calls.append(command)
            make_stub_venv(folder)
        else:
            real(command, folder)

    monkeypatch.setattr(run, "run_logged", run_logged)
    return calls


def installs(project):
    calls = project / "pip-calls"
    return calls.read_text().splitlines() if calls.exists() else []


def command(project, *words, **settings):
    """Run the copy of run.py in the project as its user would."""
    return subprocess.run(
        [sys.executable, "run.py", *words],
        cwd=project,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )


# ------------------------------------------------------------------ the file itself


def test_keeps_to_the_grammar_of_python_3_6():
    tree = ast.parse(SOURCE, feature_version=(3, 6))
    # What feature_version lets through: f"{x=}", list[int] and int | None in annotations.
    assert not re.search(r"\{[^{}]*\w=[!:}]", SOURCE)
    annotations = [
        annotation
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for annotation in (node.returns, *(argument.annotation for argument in node.args.args))
        if annotation
    ]
    assert annotations
    assert [ast.unparse(a) for a in annotations if not is_simple(a)] == []


def is_simple(annotation):
    return isinstance(annotation, ast.Name | ast.Attribute | ast.Constant)


def test_imports_the_standard_library_only():
    imported = [
        name
        for node in ast.walk(ast.parse(SOURCE))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else names(node))
    ]
    assert "subprocess" in imported
    assert [n for n in imported if n.split(".")[0] not in sys.stdlib_module_names] == []


def names(node):
    return [alias.name for alias in node.names]


def test_help_lists_every_target(capsys):
    assert run.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  ")]
    assert listed == list(run.TARGETS)
    assert all(len(line) <= 100 for line in lines)


def test_unknown_target_names_the_nearest(capsys):
    assert run.main(["tets"]) == 1
    assert "'tets': did you mean test?" in capsys.readouterr().err


@posix
def test_reader_that_leaves_early_causes_no_traceback(project):
    script = f"set -o pipefail; {sys.executable} -c 'import time, runpy, sys; time.sleep(0.3); "
    script += """sys.argv = ["run.py"]; runpy.run_path("run.py", run_name="__main__")' | true"""
    done = subprocess.run(["bash", "-c", script], cwd=project, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (141, "")


# ------------------------------------------------------------------ make and CI


def test_makefile_has_the_targets_of_run_py():
    targets = re.search(r"^TARGETS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets.group(1).split() == list(run.TARGETS)


@posix
@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_passes_target_arguments_and_exit_code(project):
    make_stub_venv(project)
    shutil.copy(ROOT / "Makefile", project)
    make = ["make", "bench", "ARGS=--seed 3", f"PYTHON={sys.executable}"]
    environment = {**os.environ, "COURSE_STUB": "7"}
    done = subprocess.run(make, cwd=project, capture_output=True, text=True, env=environment)
    assert "course bench --seed 3" in done.stdout
    assert "Error 7" in done.stderr
    bare = subprocess.run([*make[:1], make[-1]], cwd=project, capture_output=True, text=True)
    assert bare.stdout.startswith("python run.py TARGET")


@pytest.fixture
def debian(tmp_path):
    """A folder with stand-ins for what .ci/run calls; each notes its arguments in `calls`."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def stand_in(name, body):
        path = folder / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> {tmp_path}/calls\n{body}\n')
        path.chmod(0o755)

    stand_in("make", "[[ $1 == --version ]] || exit 3")
    stand_in("apt-get", "exit ${APT_STUB:-0}")
    stand_in("sudo", "exit 1")
    stand_in("dpkg-query", 'printf "${DPKG_STUB:-installed}"')

    def ci(**settings):
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PYTHON": sys.executable, **settings}
        script = ["bash", str(ROOT / ".ci" / "run")]
        done = subprocess.run(script, env=environment, capture_output=True, text=True, cwd=tmp_path)
        return done, (tmp_path / "calls").read_text().splitlines()

    return SimpleNamespace(ci=ci, stand_in=stand_in)


@posix
def test_ci_installs_nothing_that_is_there_and_passes_the_exit_code_on(debian):
    done, calls = debian.ci()
    assert done.returncode == 3
    assert calls[-1] == "make test"
    assert not any(call.startswith("apt-get") for call in calls)


@posix
def test_ci_installs_what_is_missing(debian):
    debian.stand_in("id", "echo 0")
    _, calls = debian.ci(DPKG_STUB="not-installed")
    apt = [call for call in calls if call.startswith("apt-get")]
    wanted = "--no-install-recommends chromium fonts-dejavu-core"
    assert apt == ["apt-get update", f"apt-get install --yes {wanted}"]


@posix
def test_ci_installs_through_sudo_when_not_root(debian):
    debian.stand_in("id", "echo 1000")
    debian.stand_in("sudo", '"${@:2}"')
    done, calls = debian.ci(DPKG_STUB="not-installed")
    assert "sudo -n apt-get update" in calls
    assert "Could not install" not in done.stderr


@posix
@pytest.mark.parametrize("user", [0, 1000])
def test_ci_goes_on_and_says_so_when_it_cannot_install(debian, user):
    debian.stand_in("id", f"echo {user}")
    done, calls = debian.ci(DPKG_STUB="config-files", APT_STUB="100")
    assert "Could not install chromium fonts-dejavu-core" in done.stderr
    assert calls[-1] == "make test"


@posix
def test_ci_is_a_valid_executable_script():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


# ------------------------------------------------------------------ which Python


def test_old_python_is_told_what_it_is_and_what_to_do(monkeypatch, capsys, project):
    monkeypatch.setattr(run, "OWN_PYTHON", (3, 8))
    assert run.main(["test"], project) == 1
    error = capsys.readouterr().err
    assert error.startswith("Python 3.11 or newer is needed, this is ")
    assert sys.executable in error
    assert not (project / ".venv").exists()
    assert run.main(["help"], project) == 0


def test_old_python_is_pointed_at_a_newer_one(monkeypatch):
    old = (3, 8, 10, "final", 0)
    own = run.dotted(run.OWN_PYTHON)
    monkeypatch.setattr(run, "NEWER_PYTHONS", (own,))
    monkeypatch.setattr(run.shutil, "which", lambda name: {f"python{own}": sys.executable}[name])
    message = run.old_python_message(old, "/usr/bin/python3")
    assert "this is 3.8.10 at /usr/bin/python3" in message
    assert f"PYTHON={sys.executable}" in message
    monkeypatch.setattr(run, "NEWER_PYTHONS", ("9.9",))
    monkeypatch.setattr(run.shutil, "which", lambda name: sys.executable)
    assert "install a newer one" in run.old_python_message(old, "/usr/bin/python3")


def test_no_venv_names_the_pip_line_when_the_course_is_not_installed(
    monkeypatch, project, tmp_path
):
    venv = tmp_path / "conda"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    bare = str(next(venv.glob("[bS]*/python*")))
    monkeypatch.setattr(run.sys, "executable", bare)
    with pytest.raises(run.SetupError, match=r'install -c constraints.txt -e "\.\[lab,test\]"'):
        run.checked_own_python(project)
    assert not (project / ".venv").exists()


@pytest.mark.parametrize(
    ("words", "setting"), [(["--no-venv"], ""), ([], "1"), (["--x", "--no-venv"], "0")]
)
def test_no_venv_uses_this_python_and_installs_nothing(monkeypatch, capfd, project, words, setting):
    monkeypatch.setenv("BOMRL_NO_VENV", setting)
    monkeypatch.setenv("COURSE_STUB", "4")
    monkeypatch.setenv("PYTHONPATH", str(project))  # stands for an installed course
    assert run.main(["build", *words], project) == 4
    assert not (project / ".venv").exists()
    assert "--no-venv" not in capfd.readouterr().out


# ------------------------------------------------------------------ set-up


def test_set_up_once_then_start_at_once(made, project, capfd):
    assert run.main(["course", "--seed", "3"], project) == 0
    assert capfd.readouterr().out.endswith("course run --profile class --seed 3\n")
    assert installs(project) == ["install --progress-bar off -c constraints.txt -e .[lab,test]"]
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        run.ensure_venv(project)
        seconds.append(time.perf_counter() - start)
    assert len(made) == len(installs(project)) == 1
    assert min(seconds) < 0.2


@pytest.mark.parametrize("name", ["constraints.txt", "pyproject.toml"])
def test_changed_requirements_are_installed_in_the_same_venv(made, project, name):
    run.ensure_venv(project)
    with (project / name).open("a") as file:
        file.write("# changed\n")
    run.ensure_venv(project)
    assert (len(made), len(installs(project))) == (1, 2)


def test_changed_extras_and_a_moved_folder_change_the_stamp(monkeypatch, made, project, tmp_path):
    run.ensure_venv(project)
    before = run.fingerprint(project)
    assert before == run.read_text(run.stamp_file(project))
    moved = project.rename(tmp_path / "moved")
    assert run.fingerprint(moved) != before
    monkeypatch.setattr(run, "EXTRAS", "lab")
    assert run.fingerprint(moved.rename(project)) != before


def test_failed_install_leaves_no_stamp_and_the_next_call_goes_on(monkeypatch, made, project):
    run.ensure_venv(project)
    (project / "constraints.txt").write_text("tiny==2.0\n")
    monkeypatch.setenv("PIP_STUB", "ERROR: out of luck")
    with pytest.raises(run.SetupError, match="out of luck"):
        run.ensure_venv(project)
    # Back to the old requirements: what is installed by now is unknown, so pip must run again.
    (project / "constraints.txt").write_text("tiny==1.0\n")
    monkeypatch.delenv("PIP_STUB")
    run.ensure_venv(project)
    assert (len(made), len(installs(project))) == (1, 3)


def test_venv_without_stamp_goes_on_where_it_stopped(made, project):
    make_stub_venv(project)
    half, whole = (site_packages(project) / f"{name}-1.0.dist-info" for name in ("half", "whole"))
    for folder in (half, whole):
        folder.mkdir()
        (folder / "METADATA").touch()
    (whole / "INSTALLER").touch()
    run.ensure_venv(project)
    assert (len(made), len(installs(project))) == (0, 1)
    assert whole.exists()
    assert not half.exists()


def break_interpreter(project):
    Path(run.venv_python(project)).unlink()


def upgrade_interpreter(project):
    python = Path(run.venv_python(project))
    python.unlink()
    python.write_text("#!/bin/sh\necho 9.9\n")
    python.chmod(0o755)


def break_pip(project):
    shutil.rmtree(site_packages(project) / "pip")


@posix
@pytest.mark.parametrize(
    ("damage", "stamped", "reason"),
    [
        (break_interpreter, False, "interpreter is missing"),
        (break_interpreter, True, "interpreter is missing"),
        (upgrade_interpreter, False, "and its interpreter is now 9.9"),
        (upgrade_interpreter, True, "and its interpreter is now 9.9"),
        (break_pip, False, "pip does not start"),
    ],
)
def test_unusable_venv_is_made_again(made, project, capsys, damage, stamped, reason):
    make_stub_venv(project)
    if stamped:
        run.ensure_venv(project)
    damage(project)
    (project / ".venv" / "leftover").touch()
    run.ensure_venv(project)
    assert reason in capsys.readouterr().out
    assert len(made) == 1
    assert not (project / ".venv" / "leftover").exists()


def test_venv_of_an_older_python_is_at_fault(monkeypatch, project):
    make_stub_venv(project)
    monkeypatch.setattr(run, "OLDEST_PYTHON", (99, 0))
    assert "99.0 or newer is needed" in run.venv_fault(project)


def test_file_named_venv_gets_a_message(project, capsys):
    (project / ".venv").touch()
    assert run.main(["setup"], project) == 1
    assert "What to do" in capsys.readouterr().err


# ------------------------------------------------------------------ what stops a set-up


def test_missing_venv_module_names_the_debian_package(monkeypatch, project, capsys):
    found = run.importlib.util.find_spec
    gone = {"ensurepip"}
    monkeypatch.setattr(
        run.importlib.util, "find_spec", lambda name: None if name in gone else found(name)
    )
    assert run.main(["setup"], project) == 1
    error = capsys.readouterr().err
    assert "lacks the module ensurepip" in error
    assert f"apt install python{run.dotted(run.OWN_PYTHON)}-venv" in error


def test_full_disk_is_seen_before_the_download(monkeypatch, made, project, capsys):
    monkeypatch.setattr(run.shutil, "disk_usage", lambda path: SimpleNamespace(free=1.25e9))
    assert run.main(["setup"], project) == 1
    assert re.search(r"needs about 3 GB in .*, and 1\.2 GB are free", capsys.readouterr().err)
    assert made == installs(project) == []


@pytest.mark.parametrize(
    ("words", "wrong", "advice"),
    [
        ("ERROR: [Errno 28] No space left on device", "disk is full", "TMPDIR"),
        ("ERROR: ResolutionImpossible: for help", "contradict", "constraints.txt"),
        ("NewConnectionError('...: [Errno -3] Temporary failure')", "not reach", "PIP_NO_INDEX=1"),
        ("ERROR: no version of tiny (from versions: none)", "not reach", "HTTPS_PROXY"),
        ("ERROR: No matching distribution found for tiny==1.0", "no pinned version", "Python"),
        ("ERROR: [Errno 13] Permission denied: 'x'", "could not be written", "yours"),
        ("ERROR: something new", "in the lines above", "run.py clean"),
    ],
)
def test_pip_failure_is_explained(monkeypatch, made, project, capsys, words, wrong, advice):
    monkeypatch.setenv("PIP_STUB", words)
    assert run.main(["setup"], project) == 1
    tail, explanation = capsys.readouterr().err.split("What was wrong:")
    assert words in tail
    assert words in (project / ".venv" / "setup.log").read_text()
    what_was_wrong, what_to_do = explanation.split("What to do:")
    assert wrong in what_was_wrong
    assert advice in what_to_do


def test_folder_that_cannot_be_written_gets_a_message(monkeypatch, project, capsys):
    def read_only(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(run.Path, "mkdir", read_only)
    assert run.main(["setup"], project) == 1
    error = capsys.readouterr().err
    assert "Permission denied" in error
    assert str(project / ".venv") in error
    assert "yours" in error


def test_incomplete_project_gets_a_message(project, capsys):
    (project / "constraints.txt").unlink()
    assert run.main(["setup"], project) == 1
    assert "constraints.txt" in capsys.readouterr().err


def test_unreachable_index_with_the_real_pip(project):
    """No stub here: a real .venv, a real pip, and an index that nobody serves."""
    settings = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull}
    settings |= {"PIP_NO_CACHE_DIR": "1", "PIP_RETRIES": "0", "PIP_FIND_LINKS": ""}
    settings |= {"PIP_EXTRA_INDEX_URL": ""}
    first = command(project, "setup", **settings)
    assert first.returncode == 1
    assert "Making .venv" in first.stdout
    assert "could not reach its package index" in first.stderr
    assert "Traceback" not in first.stderr
    second = command(project, "setup", **settings)
    assert second.returncode == 1
    assert "Making .venv" not in second.stdout


# ------------------------------------------------------------------ children


def test_exit_code_is_passed_on(project):
    make_stub_venv(project)
    assert command(project, "build", COURSE_STUB="7").returncode == 7


def test_every_check_runs_and_the_table_follows(monkeypatch, made, project, capsys):
    codes = iter([0, 1, 0, 2, 0])
    ran = []

    def run_child(words, folder):
        ran.append(words[1:])
        return next(codes)

    monkeypatch.setattr(run, "run_child", run_child)
    assert run.main(["test-fast", "-k", "one"], project) == 1
    assert ran[-1] == [
        "-m",
        "pytest",
        "-n",
        "auto",
        "-m",
        "not papermill and not browser",
        "-k",
        "one",
    ]
    table = [line.split() for line in capsys.readouterr().out.splitlines()[-5:]]
    assert [(row[-3], row[-2]) for row in table] == [
        ("check", "ok"),
        ("format", "FAILED"),
        ("lint-imports", "ok"),
        ("basedpyright", "FAILED"),
        ("pytest", "ok"),
    ]


def test_all_checks_green_is_success(monkeypatch, made, project):
    monkeypatch.setattr(run, "run_child", lambda words, folder: 0)
    assert run.main(["test"], project) == 0


@posix
@pytest.mark.parametrize("during", ["pip", "course"])
def test_ctrl_c_ends_with_130_and_a_plain_line(project, during):
    make_stub_venv(project)
    waits = "import signal, time\nsignal.signal(2, signal.SIG_DFL)\nprint('asleep', flush=True)\n"
    (project / "bomrl_lite" / "__main__.py").write_text(waits + "time.sleep(60)\n")
    settings = {**os.environ, "PIP_STUB": "hang" if during == "pip" else ""}
    with subprocess.Popen(
        [sys.executable, "run.py", "build"],
        cwd=project,
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        last = "log: .venv/setup.log" if during == "pip" else "asleep"
        while last not in process.stdout.readline():
            assert process.poll() is None
        while during == "pip" and not installs(project):
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=20)
    assert process.returncode == 130
    assert error == "\nStopped. The same command goes on or starts again.\n"


# ------------------------------------------------------------------ clean


def test_clean_removes_venv_and_caches_but_no_results(project):
    make_stub_venv(project)
    gone = ["bomrl_lite/__pycache__", ".ruff_cache", "bomrl_lite.egg-info", "__pycache__"]
    kept = ["runs/__pycache__", ".git/__pycache__", "notebooks"]
    for name in gone + kept:
        (project / name).mkdir(parents=True, exist_ok=True)
    assert run.main(["clean"], project) == 0
    assert [name for name in [".venv", *gone] if (project / name).exists()] == []
    assert [name for name in kept if not (project / name).exists()] == []


@pytest.mark.parametrize("target", ["clean", "setup"])
def test_venv_is_not_removed_by_its_own_python(monkeypatch, project, capsys, target):
    make_stub_venv(project)
    break_pip(project)
    monkeypatch.setattr(run.sys, "prefix", str(project / ".venv"))
    assert run.main([target], project) == 1
    assert "deactivate" in capsys.readouterr().err
    assert run.config_file(project).exists()
