"""The operators of `make mutants`, and its table: they fit the code as it is."""

from pathlib import Path

import mutants
import pytest
from cosmic_ray.mutating import mutate_code
from mutation_operators import EXAMPLES, FieldOperators

PACKAGE = mutants.ROOT / "bomrl_lite"
MUTATED = ("adaptation", "policies", "rollout", "solvers", "tasks", "training")
"""Folders of the mathematics, sampling, training and evaluation."""
SPARED = {
    "tasks/gymnasium_envs.py": "for other libraries; held to gymnasium's own environments",
    "tasks/locomotion.py": "simulation; held to gymnasium's robots",
    "training/config.py": "settings; a table of bad input",
    "training/files.py": "writes files",
    "training/archive.py": "reads and writes files; every bit flipped in a test",
    "training/folder_guard.py": "locks folders; other processes try them in a test",
    "training/group.py": "connects processes; jobs of torchrun in a test",
    "training/methods.py": "a table of settings; each of them is trained in tests",
    "training/stopping.py": "hears signals; a test sends them",
    "training/places.py": "looks at places; a table of bad commands",
    "training/policy_file.py": "reads and writes files",
    "training/problem.py": "names what exact and sampled problems share",
    "training/progress.py": "prints",
    "training/run_folder.py": "reads and writes files",
    "training/stored_config.py": "reads files of format 1; held to stored ones",
    "training/tables.py": "prints",
}


@pytest.mark.parametrize("replacements", EXAMPLES, ids=lambda each: each.__name__)
def test_an_operator_makes_its_mistake(replacements):
    before, after = EXAMPLES[replacements]
    operator = FieldOperators()[replacements.__name__]()
    assert mutate_code(before, operator, 0) == after
    assert mutate_code(before, operator, 1) is None


@pytest.mark.parametrize(
    "text",
    [
        "x.keepdim",
        "mean = total",
        "torch.where(mask)",
        "Split = Literal['train', 'test']",
        "def f(phi): return g(phi)",
        "f(tolerance=1e-10)",
        "f(gamma=gamma)",
        "x[::]",
    ],
)
def test_an_operator_leaves_alone_what_is_none_of_its_business(text):
    for name in FieldOperators():
        assert mutate_code(text, FieldOperators()[name](), 0) in (None, "x[:]"), name


def test_every_module_is_mutated_or_spared_for_a_reason():
    there = {
        str(path.relative_to(PACKAGE).as_posix())
        for folder in MUTATED
        for path in PACKAGE.joinpath(folder).glob("*.py")
        if path.name != "__init__.py"
    }
    table = mutants.read_table()
    assert {*table.tests, *SPARED} == there | {"mdp.py", "theory.py"}


def test_the_table_fits_the_code():
    table = mutants.read_table()
    assert table.mutants >= 400
    for names in table.tests.values():
        for name in names:
            assert Path(mutants.ROOT, "tests", f"test_{name}.py").is_file()
    for survivor in table.equivalent:
        text = PACKAGE.joinpath(survivor["module"]).read_text(encoding="utf-8")
        lines = {line.strip() for line in text.splitlines()}
        assert survivor["was"] in lines, survivor
        assert survivor["why"]


def test_mutants_compile_and_are_drawn_alike_each_time():
    drawn = mutants.draw("adaptation/reductions.py", 5)
    assert len(drawn) == 5
    assert drawn == mutants.draw("adaptation/reductions.py", 5)
    assert drawn[:3] == mutants.draw("adaptation/reductions.py", 3), "more of them begin alike"
    assert len({item.mutations[0].operator_name for item in drawn}) > 1


def test_a_package_that_cannot_be_imported_is_a_mutant_that_was_noticed(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/conftest.py").write_text("raise ImportError('a mutant')\n")
    (tmp_path / "tests/test_any.py").write_text("def test_any():\n    pass\n")
    assert mutants.outcome_of(tmp_path, ["any"], 5)[0] == mutants.TestOutcome.KILLED
