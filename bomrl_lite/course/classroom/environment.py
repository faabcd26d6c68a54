"""Environment variables for a while."""

import os
import sysconfig
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def environment(**values: str) -> Generator[None, None, None]:
    """Set variables, and give each its value of before, or none, whatever happens meanwhile.

    ``nbgrader.utils.setenv`` of 0.9.6 does neither: it looks the value of before up under another
    name, and leaves the new one after an error, for every kernel that a server then starts.
    """
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def with_own_programs() -> str:
    """Return a PATH on which the programs of this interpreter's packages come first.

    nbgrader 0.9.6 calls ``alembic`` by its name, and so needs an activated environment.
    """
    return os.pathsep.join(filter(None, [sysconfig.get_path("scripts"), os.environ.get("PATH")]))
