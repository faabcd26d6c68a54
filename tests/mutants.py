"""Mutate the mathematics, sampling, training and evaluation; see that tests notice.

    make mutants                 (python tests/mutants.py --jobs 2 --only mdp)

cosmic-ray makes the mutants, from its own operators and those of ``mutation_operators``, runs the
test files that ``mutants.toml`` names for the module, and keeps what became of them under
runs/mutants: a run that was stopped goes on where it was. What survives is printed, and
docs/mutants.md is written when all have been run. The exit status is 1 when more than one in fifty
survives, or one that ``mutants.toml`` does not explain.
"""

import argparse
import ast
import difflib
import hashlib
import itertools
import multiprocessing
import os
import queue
import random
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import cosmic_ray.plugins
import pytest
from cosmic_ray.ast import get_ast_from_path
from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_code, use_mutation
from cosmic_ray.work_db import use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkItem, WorkResult
from mutation_operators import FieldOperators
from parso.tree import NodeOrLeaf
from planted import ROOT, copy_project

TABLE = ROOT / "tests" / "mutants.toml"
SESSIONS = ROOT / "runs" / "mutants"
SEED = 0
PAGE = ROOT / "docs" / "mutants.md"
MOST_SURVIVORS = 0.02
CORE = (
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Pow_Mul", "Mod_Mul", "FloorDiv_Mul")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_Gt", "LtE_GtE", "Gt_Lt", "GtE_LtE")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Is_IsNot")),
    *("ReplaceUnaryOperator_USub_UAdd", "AddNot", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "NumberReplacer", "ZeroIterationForLoop"),
)
"""cosmic-ray's own operators that make a mistake somebody might make, and one that shows: a shift
of a tensor's bits raises at once, < in place of <= is the same to most floating-point numbers."""

PYTEST_RAN = 100
"""Added to its exit status, which an error of our own would look like."""
PASSED_OR_FAILED = (
    pytest.ExitCode.OK,
    pytest.ExitCode.TESTS_FAILED,
    pytest.ExitCode.INTERRUPTED,  # a file could not be imported
)
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(
    ["torch", "pytest", "gymnasium.vector", "mujoco", "scipy.stats", "mutants"]
)
cosmic_ray.plugins.OPERATOR_PROVIDERS["field"] = FieldOperators()


class Table(NamedTuple):
    """What ``mutants.toml`` says."""

    mutants: int
    minutes: int
    tests: dict[str, list[str]]
    equivalent: list[dict[str, str]]
    """Survivors that no test can notice: ``module``, the lines ``was`` and ``now``, and ``why``."""


class Mutant(NamedTuple):
    """What became of one mutant."""

    job: str
    module: str
    operator: str
    was: str
    now: str
    outcome: str
    """killed, survived or timeout."""


def read_table() -> Table:
    """Read ``mutants.toml``."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return Table(**{"equivalent": [], **table})


def candidates(path: Path, folder: Path) -> list[MutationSpec]:
    """List the mutations of a file, but for those of its errors' texts and of its signatures."""
    with use_db(str(folder / "candidates.sqlite")) as db:
        init([path], db, {})
        found = [item.mutations[0] for item in db.work_items]
    tree = get_ast_from_path(path)
    messages = set(_lines_of(tree, "raise_stmt"))

    def matters(spec: MutationSpec) -> bool:
        # The star of keyword-only parameters passes for a product.
        star = tree.get_leaf_for_position(spec.start_pos).parent.type in ("parameters", "param")
        is_product = "BinaryOperator_Mul" in spec.operator_name
        return spec.start_pos[0] not in messages and not (star and is_product)

    return [spec for spec in found if is_chosen(spec.operator_name) and matters(spec)]


def is_chosen(operator: str) -> bool:
    """Tell whether an operator is one of ours."""
    provider, _, name = operator.partition("/")
    return provider == "field" or name in CORE


def changes(text: str, spec: MutationSpec) -> bool:
    """Tell whether a mutation gives another program, and one that compiles."""
    line = text.splitlines()[spec.start_pos[0] - 1]
    if spec.operator_name.endswith("USub_UAdd") and line[spec.start_pos[1] + 1].isdigit():
        return False  # of a matrix, axis +1 is axis -1
    if line[: spec.start_pos[1]].endswith("strict="):
        return False  # of a zip, it asserts what is so: without it nothing else comes out
    operator = cosmic_ray.plugins.get_operator(spec.operator_name)()
    try:
        mutated = mutate_code(text, operator, spec.occurrence)
        return mutated is not None and ast.dump(ast.parse(mutated)) != ast.dump(ast.parse(text))
    except SyntaxError:
        return False


def _lines_of(node: NodeOrLeaf, kind: str) -> Iterator[int]:
    if node.type == kind:
        yield from range(node.start_pos[0], node.end_pos[0] + 1)
    for child in getattr(node, "children", ()):
        yield from _lines_of(child, kind)


def draw(module: str, share: int) -> list[WorkItem]:
    """Draw mutants of a module, of its operators in turns."""
    path = ROOT / "bomrl_lite" / module
    with tempfile.TemporaryDirectory() as folder:
        text, found = path.read_text(encoding="utf-8"), candidates(path, Path(folder))
    random.Random(f"{SEED} {module}").shuffle(found)
    real = (spec for spec in in_turns(found) if changes(text, spec))
    chosen = enumerate(itertools.islice(real, share))
    return [WorkItem.single(f"{module} {number}", spec) for number, spec in chosen]


def in_turns(found: list[MutationSpec]) -> Iterator[MutationSpec]:
    """Yield a mutation of each operator, then a second one of each, and so on."""
    by_operator: dict[str, list[MutationSpec]] = {}
    for spec in found:
        by_operator.setdefault(spec.operator_name, []).append(spec)
    for turn in itertools.zip_longest(*by_operator.values()):
        yield from filter(None, turn)


def sessions(table: Table, only: str) -> dict[str, Path]:
    """Return cosmic-ray's session of every module, filled with as many mutants as its share.

    Verdicts are kept while the module stays as it is, also where its share of the lines changes.
    """
    paths = {module: ROOT / "bomrl_lite" / module for module in table.tests}
    lines = {module: len(path.read_bytes().splitlines()) for module, path in paths.items()}
    found = dict[str, Path]()
    for module, path in paths.items():
        if only not in module:
            continue
        # As many as its share of the lines.
        share = -(-table.mutants * lines[module] // sum(lines.values()))
        digest = hashlib.sha256(path.read_bytes() + f"{SEED}".encode()).hexdigest()[:12]
        name = module.replace("/", ".").removesuffix(".py")
        found[module] = SESSIONS / f"{name}-{digest}.sqlite"
        SESSIONS.mkdir(parents=True, exist_ok=True)
        with use_db(str(found[module])) as db:
            if (known := db.num_work_items) < share:
                db.add_work_items(draw(module, share)[known:])
    return found


def run_pytest(copy: Path, tests: list[str], output: Path) -> None:
    """Run test files in a copy of the project and leave with pytest's status; for a child."""
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(copy)
    os.environ["PYTHONPATH"] = f"{copy}{os.pathsep}{copy / 'tests'}"
    sys.path[:0] = [str(copy), str(copy / "tests")]
    # Compiled files are told apart by seconds and size, which a mutant may share with the next.
    sys.dont_write_bytecode, os.environ["PYTHONDONTWRITEBYTECODE"] = True, "1"
    files = [f"tests/test_{name}.py" for name in tests]
    # Without the types, which another test holds to: a mutant is to be noticed by its values.
    status = pytest.main(["-x", "-q", "-o", "addopts=", "-p", "no:cacheprovider", *files])
    sys.stdout.flush()
    os._exit(PYTEST_RAN + status)


def outcome_of(copy: Path, tests: list[str], minutes: float) -> tuple[TestOutcome, str]:
    """Run test files in a child that finds torch and its like loaded.

    Raises:
        RuntimeError: pytest could not run them.
    """
    output = copy / "pytest.log"
    child = CHILDREN.Process(target=run_pytest, args=(copy, tests, output))
    child.start()
    child.join(60 * minutes)
    if child.exitcode is None:
        child.kill()
        child.join()
        return TestOutcome.KILLED, "timeout"
    text = output.read_text(encoding="utf-8", errors="replace")
    if "while loading conftest" in text:  # the package cannot even be imported
        return TestOutcome.KILLED, text
    if child.exitcode >= 0 and child.exitcode - PYTEST_RAN not in PASSED_OR_FAILED:
        raise RuntimeError(f"pytest could not run {tests}:\n{text[-3000:]}")
    passed = child.exitcode == PYTEST_RAN + pytest.ExitCode.OK
    return (TestOutcome.SURVIVED if passed else TestOutcome.KILLED), text


def run_mutant(spec: MutationSpec, copy: Path, module: str, table: Table) -> WorkResult:
    """Run a module's tests in a copy that has the mutation for so long."""
    operator = cosmic_ray.plugins.get_operator(spec.operator_name)()
    with use_mutation(copy / "bomrl_lite" / module, operator, spec.occurrence) as (was, now):
        outcome, output = outcome_of(copy, table.tests[module], table.minutes)
    change = difflib.unified_diff(was.splitlines(), now.splitlines(), n=0, lineterm="")
    return WorkResult(WorkerOutcome.NORMAL, output, outcome, "\n".join(change))


def unsettled(module: str, file: Path, table: Table) -> list[WorkItem]:
    """List the mutants that have no verdict, or survived the tests of last time unexplained."""
    puzzling = {
        mutant.job
        for mutant in verdicts(module, file)
        if mutant.outcome == "survived" and not explanation(mutant, table)
    }
    with use_db(str(file)) as db:
        again = [item for item in db.work_items if item.job_id in puzzling]
        return [*db.pending_work_items, *again]


def examine(sessions: dict[str, Path], table: Table, jobs: int) -> Iterator[Mutant]:
    """Run the unsettled mutants, several at a time, each in a copy that is its own."""
    pending = [
        (module, item)
        for module, file in sessions.items()
        for item in unsettled(module, file, table)
    ]
    print(f"{len(pending)} mutants to run", flush=True)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(jobs):
            copies.put(copy_project(Path(folder, str(number))))

        def run_one(module: str, item: WorkItem) -> WorkResult:
            copy = copies.get()
            try:
                return run_mutant(item.mutations[0], copy, module, table)
            finally:
                copies.put(copy)

        running = {pool.submit(run_one, *each): each for each in pending}
        try:
            for future in as_completed(running):
                module, item = running[future]
                with use_db(str(sessions[module])) as db:
                    db.set_result(item.job_id, future.result())
                yield described(module, item, future.result())
        finally:  # Ctrl-C waits for the mutants that run, not for all
            pool.shutdown(cancel_futures=True)


def check_unmutated(table: Table, only: str) -> None:
    """See that the tests pass as they are.

    Raises:
        SystemExit: some fail.
    """
    tests = sorted({t for module, names in table.tests.items() if only in module for t in names})
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_project(Path(folder))
        outcome, output = outcome_of(copy, tests, 10 * table.minutes)
    if outcome is not TestOutcome.SURVIVED:
        raise SystemExit(f"the tests fail without any mutation:\n{output[-3000:]}")


def described(module: str, item: WorkItem, result: WorkResult) -> Mutant:
    """Say in words what a mutant was and what became of it."""
    (spec,) = item.mutations
    lines = [line for line in (result.diff or "").splitlines() if line[:3] not in ("---", "+++")]
    was, now = (" ".join(x[1:].strip() for x in lines if x[:1] == sign) for sign in "-+")
    outcome = "timeout" if result.output == "timeout" else str(result.test_outcome.value)
    return Mutant(item.job_id, module, spec.operator_name.split("/")[1], was, now, outcome)


def verdicts(module: str, file: Path) -> list[Mutant]:
    """List what became of the mutants of a session."""
    with use_db(str(file)) as db:
        items = {item.job_id: item for item in db.work_items}
        return [described(module, items[job], result) for job, result in db.results]


def explanation(mutant: Mutant, table: Table) -> str:
    """Return why a survivor is equivalent, or "" where nobody has said."""
    key = (mutant.module, mutant.was, mutant.now)
    whys = [e["why"] for e in table.equivalent if (e["module"], e["was"], e["now"]) == key]
    return whys[0] if whys else ""


def page(mutants: list[Mutant], drawn: dict[str, int], table: Table) -> str:
    """Lay out the table of mutants for docs/mutants.md; ``drawn`` counts those of each module."""
    counts = Counter((mutant.module, mutant.outcome) for mutant in mutants)
    survivors = [mutant for mutant in mutants if mutant.outcome == "survived"]
    lines = [
        "# Mutants",
        "",
        "Written by `make mutants`: mutants of cosmic-ray, drawn from its own operators and those "
        f"of `tests/mutation_operators.py`. Of {sum(drawn.values())} drawn {len(mutants)} have "
        f"been run; {len(survivors)} survived. One whose tests do not end counts as killed.",
        "",
        "| module | drawn | killed | survived |",
        "|---|---|---|---|",
    ]
    for module, number in drawn.items():
        killed = counts[module, "killed"] + counts[module, "timeout"]
        lines.append(f"| `{module}` | {number} | {killed} | {counts[module, 'survived']} |")
    lines += ["", "What survived, and why no test can tell:", ""]
    for mutant in survivors:
        why = explanation(mutant, table) or "not explained yet"
        lines.append(f"- `{mutant.module}`: `{mutant.was}` → `{mutant.now}`: {why}")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run what has no verdict yet; 1 if too many survive, or one is not explained or not run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", metavar="MODULE", help="part of a module's name")
    parser.add_argument("--unchecked", action="store_true", help="do not run unmutated tests first")
    parser.add_argument("--report", action="store_true", help="run none, count the verdicts")
    options = parser.parse_args()
    table = read_table()
    found = sessions(table, options.only)
    if options.report:
        return report(found, table, whole=not options.only)
    if not options.unchecked:
        check_unmutated(table, options.only)
    try:
        for mutant in examine(found, table, options.jobs):
            if mutant.outcome != "killed":
                print(*mutant[1:], sep="  |  ", flush=True)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on with the mutants that are left")
    return report(found, table, whole=not options.only)


def report(sessions: dict[str, Path], table: Table, *, whole: bool) -> int:
    """Print what came of the mutants of some modules; of all modules, write the page as well."""
    mutants = [mutant for module, file in sessions.items() for mutant in verdicts(module, file)]
    survivors = [mutant for mutant in mutants if mutant.outcome == "survived"]
    puzzling = [mutant for mutant in survivors if not explanation(mutant, table)]
    drawn = {module: number_of_mutants(file) for module, file in sessions.items()}
    if whole:
        PAGE.write_text(page(mutants, drawn, table), encoding="utf-8")
    left = sum(drawn.values()) - len(mutants)
    print(f"{len(survivors)} of {len(mutants)} survived, {len(puzzling)} are not explained")
    return int(len(survivors) > MOST_SURVIVORS * len(mutants) or bool(puzzling) or left > 0)


def number_of_mutants(file: Path) -> int:
    """Count the mutants of a session."""
    with use_db(str(file)) as db:
        return db.num_work_items


if __name__ == "__main__":
    sys.exit(main())
