"""run.py in small projects whose pip is a stub; what `make` and `.ci/run` pass on to it."""

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
    print(words, flush=True)
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

# Stands for a course that is at work: on Ctrl-C it takes a moment to save.
SAVES_BEFORE_IT_ENDS = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    print("asleep", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.5)
    print("saved", file=sys.stderr)
    sys.exit(1)
"""


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch):
    """Without what the caller, perhaps `make test ARGS=...`, hands down to every child."""
    stubs = ("PIP_STUB", "COURSE_STUB", "BOMRL_NO_VENV", "PYTHONPATH")
    for name in (*stubs, "MAKEFLAGS", "MAKELEVEL", "ARGS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path):
    """A project folder with what run.py reads, and no .venv."""
    folder = tmp_path / "project"
    (folder / "bomrl_lite").mkdir(parents=True)
    (folder / "bomrl_lite" / "__main__.py").write_text(COURSE_STUB)
    (folder / "constraints.txt").write_text("tiny==1.0\n")
    (folder / "pyproject.toml").write_text('[project]\nname = "bomrl-lite"\nversion = "0"\n')
    shutil.copy(ROOT / "run.py", folder)
    return folder


def site_packages(project):
    venv = str(project / ".venv")
    folder = sysconfig.get_path("purelib", "venv", vars={"base": venv, "platbase": venv})
    return Path(folder)


def make_stub_venv(project):
    """A real virtual environment with the stub in place of pip."""
    venv = [sys.executable, "-m", "venv", "--clear", "--without-pip", project / ".venv"]
    subprocess.run(venv, check=True)
    pip = site_packages(project) / "pip"
    pip.mkdir()
    (pip / "__main__.py").write_text(PIP_STUB)


@pytest.fixture
def made(monkeypatch):
    """Calls of run.py's `python -m venv`, which gives a virtual environment with the stub."""
    real, calls = run.run_child, []

    def run_child(command, folder, **settings):
        if "venv" not in command:
            return real(command, folder, **settings)
        calls.append(command)
        make_stub_venv(folder)
        return 0

    monkeypatch.setattr(run, "run_child", run_child)
    return calls


def installs(project):
    calls = project / "pip-calls"
    return calls.read_text().splitlines() if calls.exists() else []


def marker(project):
    return project / ".venv" / ".bomrl-setup"


def refusal(project, *words):
    """The message that `run.py words` ends with; SystemExit prints it and gives exit code 1."""
    with pytest.raises(SystemExit) as stopped:
        run.main(list(words), project)
    return stopped.value.code


def test_keeps_to_the_grammar_of_python_3_6():
    tree = ast.parse(SOURCE, feature_version=(3, 6))
    # What feature_version lets through: f"{x=}", list[int] and int | None in annotations.
    assert not re.search(r"\{[^{}]*\w=[!:}]", SOURCE)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    notes = [f.returns for f in functions] + [a.annotation for f in functions for a in f.args.args]
    assert [ast.unparse(n) for n in notes if not isinstance(n, ast.Name | ast.Constant)] == []


def test_imports_the_standard_library_only():
    imports = re.findall(r"^(?:from|import) (\w+)", SOURCE, re.MULTILINE)
    assert "subprocess" in imports
    assert set(imports) <= sys.stdlib_module_names


def test_help_lists_every_target(capsys):
    assert run.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(run.TARGETS)
    assert all(len(line) <= 100 for line in lines)


def test_unknown_target_gets_the_list(project):
    assert "no target 'tets'; there are: help, setup, course, lab, test," in refusal(
        project, "tets"
    )


@posix
def test_reader_that_leaves_early_causes_no_traceback(project):
    script = f"set -o pipefail; {sys.executable} -c 'import time, runpy, sys; time.sleep(0.3); "
    script += """sys.argv = ["run.py"]; runpy.run_path("run.py", run_name="__main__")' | true"""
    done = subprocess.run(["bash", "-c", script], cwd=project, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")


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


@posix
@pytest.mark.parametrize(
    ("user", "dpkg", "sudo", "apt", "outcome"),
    [
        (1000, "installed", "exit 1", 0, "nothing to do"),
        (0, "not-installed", "exit 1", 0, "installed"),
        (1000, "not-installed", '"${@:2}"', 0, "installed"),
        (1000, "not-installed", "exit 1", 0, "could not"),
        (0, "config-files", "exit 1", 100, "could not"),
    ],
)
def test_ci_installs_what_is_missing_and_runs_make_test(tmp_path, user, dpkg, sudo, apt, outcome):
    """.ci/run among stand-ins for what it calls; each notes its arguments."""
    bodies = {"make": "[[ $1 == --version ]] || exit 3", "apt-get": f"exit {apt}", "sudo": sudo}
    bodies |= {"dpkg-query": f'printf "{dpkg}"', "id": f"echo {user}"}
    for name, body in bodies.items():
        path = tmp_path / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> {tmp_path}/calls\n{body}\n')
        path.chmod(0o755)
    search = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": search, "PYTHON": sys.executable}
    script = [ROOT / ".ci" / "run"]
    done = subprocess.run(script, env=environment, capture_output=True, text=True)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert (done.returncode, calls[-1]) == (3, "make test")
    install = "apt-get install --yes --no-install-recommends bubblewrap chromium fonts-dejavu-core"
    assert (install in calls) == (outcome == "installed")
    assert ("Could not install bubblewrap chromium" in done.stderr) == (outcome == "could not")


def test_old_python_is_told_what_it_is_and_what_to_do(monkeypatch, project):
    monkeypatch.setattr(run, "OLDEST_PYTHON", (99, 0))
    message = refusal(project, "test")
    assert message.startswith("Python 99.0 or newer is needed, this is ")
    assert sys.executable in message
    assert "make TARGET PYTHON=python99.0" in message
    assert not (project / ".venv").exists()
    assert run.main(["help"], project) == 0


def test_no_venv_names_the_pip_line_when_the_course_is_not_installed(
    monkeypatch, project, tmp_path
):
    venv = tmp_path / "conda"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    monkeypatch.setattr(run.sys, "executable", str(next(venv.glob("[bS]*/python*"))))
    message = refusal(project, "build", "--no-venv")
    assert 'pip install -c constraints.txt -e ".[lab,classroom,ray,test,site]"' in message
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


def test_set_up_once_then_start_at_once(made, project, capfd):
    assert run.main(["course", "--seed", "3"], project) == 0
    assert capfd.readouterr().out.endswith("course run --profile class --seed 3\n")
    options = "--log .venv/setup.log -c constraints.txt -e .[lab,classroom,ray,test,site]"
    assert installs(project) == [f"install {options}"]
    assert "--clear" in made[0]
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        run.ensure_venv(project)
        seconds.append(time.perf_counter() - start)
    assert len(made) == len(installs(project)) == 1
    assert min(seconds) < 0.2


def test_changed_requirements_and_a_moved_folder_are_installed_in_the_same_venv(made, project):
    run.ensure_venv(project)
    for name in ("constraints.txt", "pyproject.toml"):
        with (project / name).open("a") as file:
            file.write("# changed\n")
        run.ensure_venv(project)
    moved = project.rename(project.with_name("moved"))
    run.ensure_venv(moved)
    assert (len(made), len(installs(moved))) == (1, 4)


def test_failed_install_leaves_no_marker_and_the_next_call_goes_on(
    monkeypatch, made, project, capfd
):
    run.ensure_venv(project)
    (project / "constraints.txt").write_text("tiny==2.0\n")
    monkeypatch.setenv("PIP_STUB", "ERROR: out of luck")
    message = refusal(project, "setup")
    assert "pip failed" in message
    assert "log is .venv/setup.log" in message
    assert "out of luck" in capfd.readouterr().out
    assert not marker(project).exists()
    # Back to the old requirements: what is installed by now is unknown, so pip must run again.
    (project / "constraints.txt").write_text("tiny==1.0\n")
    monkeypatch.delenv("PIP_STUB")
    assert run.main(["setup"], project) == 0
    assert (len(made), len(installs(project))) == (1, 3)


def kill_during_install(project):
    marker(project).write_text(run.UNFINISHED)


def break_interpreter(project):
    python = site_packages(project).parents[2] / "bin" / "python"
    python.unlink()


def break_pip(project):
    shutil.rmtree(site_packages(project) / "pip")


@posix
@pytest.mark.parametrize("damage", [kill_during_install, break_interpreter, break_pip])
def test_unusable_venv_is_made_again(made, project, damage):
    run.ensure_venv(project)
    damage(project)
    (project / ".venv" / "leftover").touch()
    run.ensure_venv(project)
    assert (len(made), len(installs(project))) == (2, 2)
    assert not (project / ".venv" / "leftover").exists()


def test_venv_of_an_older_python_is_made_again(monkeypatch, made, project):
    python = run.ensure_venv(project)
    assert run.can_install(python)
    monkeypatch.setattr(run, "OLDEST_PYTHON", (99, 0))
    assert not run.can_install(python)


def test_what_stops_a_set_up_gets_a_message(made, project, monkeypatch):
    (project / "constraints.txt").unlink()
    assert "constraints.txt" in refusal(project, "setup")
    monkeypatch.setattr(run, "run_child", lambda *_, **__: 1)
    shutil.rmtree(project / ".venv")
    assert "python -m venv failed" in refusal(project, "setup")


def test_unreachable_index_with_the_real_pip(project):
    """No stub here: a real .venv, a real pip, and an index that nobody serves."""
    settings = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull}
    settings |= {"PIP_NO_CACHE_DIR": "1", "PIP_RETRIES": "0", "PIP_FIND_LINKS": ""}
    command = [sys.executable, "run.py", "setup"]
    environment = {**os.environ, **settings, "PIP_EXTRA_INDEX_URL": ""}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Making .venv" in done.stdout
    assert "subprocess-exited-with-error" in done.stderr
    assert "The set-up stopped: pip failed" in done.stderr
    assert "Traceback" not in done.stderr
    assert "ERROR" in (project / ".venv" / "setup.log").read_text()


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("course", ["bomrl_lite", "run", "--profile", "class"]),
        ("full", ["bomrl_lite", "run", "--profile", "full"]),
        ("lab", ["jupyterlab", "notebooks/00_start_here.ipynb"]),
        ("browser", ["pytest", "-m", "browser"]),
        ("build", ["bomrl_lite", "build"]),
        ("bench", ["bomrl_lite", "bench"]),
    ],
)
def test_target_runs_its_module_with_the_callers_arguments(monkeypatch, project, target, words):
    monkeypatch.setattr(run, "ensure_venv", lambda folder: "python")
    ran = []
    monkeypatch.setattr(run, "run_child", lambda command, folder: ran.append(command) or 7)
    assert run.main([target, "--x", "1"], project) == 7
    assert ran == [["python", "-m", *words, "--x", "1"]]


@pytest.mark.parametrize(
    ("target", "selection"),
    [("test", []), ("test-fast", ["-m", "not papermill and not browser"])],
)
def test_every_check_runs_and_the_table_follows(monkeypatch, project, capsys, target, selection):
    codes, ran = iter([0, 1, 0, 2, 0]), []
    monkeypatch.setattr(run, "ensure_venv", lambda folder: "python")
    monkeypatch.setattr(run, "run_child", lambda words, _: ran.append(words) or next(codes))
    assert run.main([target, "-k", "one"], project) == 1
    by_file = ["-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder"]
    assert ran[-1] == ["python", "-m", "pytest", *by_file, *selection, "-k", "one"]
    assert [words[2] for words in ran[:4]] == ["ruff", "ruff", run.LINT_IMPORTS, "basedpyright"]
    table = [line.split() for line in capsys.readouterr().out.splitlines()[-5:]]
    assert [row[-2] for row in table] == ["ok", "FAILED", "ok", "FAILED", "ok"]
    monkeypatch.setattr(run, "run_child", lambda words, folder: 0)
    assert run.main([target], project) == 0


@posix
@pytest.mark.parametrize("during", ["pip", "course"])
def test_ctrl_c_ends_with_130_and_a_plain_line(project, during):
    make_stub_venv(project)
    (project / "bomrl_lite" / "__main__.py").write_text(SAVES_BEFORE_IT_ENDS)
    with subprocess.Popen(
        [sys.executable, "run.py", "build"],
        cwd=project,
        env={**os.environ, "PIP_STUB": "hang" if during == "pip" else ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while ("hang" if during == "pip" else "asleep") not in process.stdout.readline():
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=20)
    assert process.returncode == 130
    if during == "course":
        assert error.startswith("saved\n")  # waited for, before our own last line
    assert error.endswith("\nStopped. The same command goes on or starts again.\n")
    assert (marker(project).read_text() == run.UNFINISHED) == (during == "pip")


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
def test_venv_is_not_removed_by_its_own_python(monkeypatch, project, target):
    make_stub_venv(project)
    break_pip(project)
    monkeypatch.setattr(run.sys, "prefix", str(project / ".venv"))
    assert "deactivate" in refusal(project, target)
    assert (project / ".venv" / "pyvenv.cfg").exists()
