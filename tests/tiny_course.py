"""Courses of a few lines, for the tests of the builder and the runner."""

from pathlib import Path

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
