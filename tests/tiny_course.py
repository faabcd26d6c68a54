"""Courses of a few lines, for the tests of the builder and the runner."""

from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_output

from bomrl_lite.course.execute import Failure, Job, Outcome
from bomrl_lite.course.notebook import read_notebook, to_bytes
from bomrl_lite.course.record import MIME

LESSON = """\
# %% [markdown]
# # A tiny lesson

# %% tags=["parameters"]
profile = "class"
seed = 0

# %%
from bomrl_lite.course.record import record

record("gap", 1.0 + seed, "return")
"""

EXERCISES = '''\
# %% [markdown]
# # Exercises

# %% tags=["parameters"]
unsolved = "raise"


# %% tags=["hide-input"]
class NotSolved(NotImplementedError):
    def _render_traceback_(self):
        return [str(self)]


class checks:
    @staticmethod
    def double(function):
        try:
            right = function(3) == 6
        except NotImplementedError:
            if unsolved == "reference":
                return lambda x: x + x
            again = "replace raise NotImplementedError and run the cell again."
            raise NotSolved(f"[exercise 1.1] not solved yet: {again}") from None
        assert right
        return function


# %% tags=["exercise"] exercise="1.1"
def double(x):
    """Return twice x."""
    # BEGIN SOLUTION
    twice_the_number = 2 * x
    return twice_the_number
    # END SOLUTION


# %% tags=["check"]
double = checks.double(double)

# %%
print(double(4))
'''


def write_course(root: Path, **sources: str) -> Path:
    """Write sources named like lesson_00_start or exercises_01_first, and return the root."""
    for folder in ("notebooks", "exercises", "solutions"):
        (root / folder / "src").mkdir(parents=True, exist_ok=True)
    (root / "solutions" / "src").rmdir()
    for key, text in sources.items():
        kind, name = key.split("_", 1)
        folder = {"lesson": "notebooks", "exercises": "exercises"}[kind]
        (root / folder / "src" / f"{name}.py").write_text(text)
    return root


def lesson(code: str) -> str:
    """Return the source of a lesson whose last cell is ``code``."""
    return LESSON + f"\n# %%\n{code}\n"


class FakePapermill:
    """Stands for ``execute``: lessons pass at once, but for those that ``broken`` names.

    ``figures`` maps a lesson to what it records; ``ran`` names the lessons that were executed.
    """

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.broken: set[str] = set()
        self.figures: dict[str, dict[str, float]] = {}

    def __call__(self, job: Job, *_: object, **__: object) -> Outcome:
        name = job.output.stem
        self.ran.append(name)
        code = next(cell for cell in job.notebook.cells if cell.cell_type == "code")
        code.outputs = [recorded(*each) for each in self.figures.get(name, {}).items()]
        job.output.write_bytes(to_bytes(job.notebook))
        ran = read_notebook(job.output)
        if name in self.broken:
            return Outcome(name, "failed", 2.0, ran, Failure(2, "", "ValueError: x", ""))
        return Outcome(name, "passed", 2.0, ran, log=f"log of {name}")


def recorded(name: str, value: float, source: str = "code") -> NotebookNode:
    """Return the output of ``record``."""
    content = {"name": name, "value": value, "unit": "return", "source": source}
    return new_output("display_data", {MIME: content})
