"""Takes one function and all that it needs out of a notebook, without running anything."""

import ast
import builtins
import re
import symtable
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import nbformat

COURSE = "bomrl_lite.course"
MAGIC = re.compile(r"^(\s*)([%!?].*|.*\?)$")
HARMLESS = re.compile(r"%%(time|capture|prun)\b.*")
"""Cell magics that run their cell as it stands."""


class Statement(NamedTuple):
    """One statement at the top level of a cell."""

    cell: int
    line: int
    source: str
    binds: frozenset[str]
    uses: frozenset[str]
    node: ast.stmt


def extract(notebook: nbformat.NotebookNode, name: str) -> list[Statement] | None:
    """Return the statements that define a name and all that they need, in order, or None.

    Every definition of a needed name counts, so that the last one holds, as it does at the end of
    the notebook. What the course's checks return is the learner's own function again: left out.
    """
    every = list(_statements(notebook))
    course = {"checks"}.union(*(s.binds for s in every if _imports_course(s.node)))
    own = [s for s in every if not _calls(s.node, course)]
    names, chosen = {name}, set[int]()
    while True:
        more = {i for i, s in enumerate(own) if s.binds & names or "*" in s.binds} - chosen
        if not more:
            break
        chosen |= more
        names = names.union(*(own[i].uses for i in more))
    known = names | set(dir(builtins))
    # what is done to needed things: torch.set_default_dtype(...), table.append(...)
    chosen |= {i for i, s in enumerate(own) if _acts_on(s.node) in names and s.uses <= known}
    found = [own[i] for i in sorted(chosen)]
    return found if any(name in s.binds for s in found) else None


def why_unreadable(notebook: nbformat.NotebookNode, name: str) -> str | None:
    """Say why the cell that is to define a function is no Python; None if there is none like it."""
    for cell in notebook.get("cells", ()):
        source = cell.get("source", "")
        if cell.get("cell_type") != "code" or not isinstance(source, str):
            continue
        if re.search(rf"^\s*def\s+{name}\b", source, re.MULTILINE):
            try:
                ast.parse(_without_magics(source))
            except SyntaxError as error:
                return f"line {error.lineno}: {error.msg}"
            except (ValueError, RecursionError, MemoryError) as error:
                return f"{type(error).__name__}: {error}"
    return None


def _statements(notebook: nbformat.NotebookNode) -> Iterator[Statement]:
    for number, cell in enumerate(notebook.get("cells", ())):
        source = cell.get("source", "")
        if cell.get("cell_type") != "code" or not isinstance(source, str):
            continue
        tree = _parse(source) or _parse(source := _without_magics(source))
        if tree is None:
            continue
        lines = source.splitlines()
        for node in tree.body:
            decorators = getattr(node, "decorator_list", ())
            first = min([node.lineno, *(each.lineno for each in decorators)])
            text = "\n".join(lines[first - 1 : node.end_lineno])
            alone = _parse(text)
            if alone is None or len(alone.body) != 1:
                text = ast.unparse(node)
            try:
                table = symtable.symtable(text, "cell", "exec")
            except (SyntaxError, ValueError, RecursionError):
                continue
            binds = {
                s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()
            }
            binds |= set(_changed(node))
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                binds.add("*")
            yield Statement(number, first, text, frozenset(binds), frozenset(_uses(table)), node)


def _parse(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _without_magics(source: str) -> str:
    """Blank what only a notebook understands, line by line; cells in other languages altogether."""
    lines = source.splitlines()
    first = next((i for i, line in enumerate(lines) if line.strip()), 0)
    if lines and lines[first].startswith("%%"):
        if not HARMLESS.match(lines[first]):
            return ""
        lines[first] = ""
    return "\n".join(MAGIC.sub(r"\1pass", line) for line in lines)


def _uses(table: symtable.SymbolTable) -> Iterator[str]:
    top = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (top or symbol.is_global()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _uses(child)


def _changed(node: ast.stmt) -> Iterator[str]:
    """Name what is assigned to in part: x in x.y = ..., x[...] = ..."""
    single = (node.target,) if isinstance(node, ast.AugAssign | ast.AnnAssign) else ()
    targets: Sequence[ast.expr] = node.targets if isinstance(node, ast.Assign) else single
    for target in targets:
        root = _root(target)
        if root is not None:
            yield root


def _root(node: ast.expr) -> str | None:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _acts_on(node: ast.stmt) -> str | None:
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return None
    function = node.value.func
    return _root(function) if isinstance(function, ast.Attribute) else None


def _calls(node: ast.stmt, course: set[str]) -> bool:
    """Tell whether a statement is, or assigns, a call of something of the course."""
    value = getattr(node, "value", None)
    return isinstance(value, ast.Call) and _root(value.func) in course


def _imports_course(node: ast.stmt) -> bool:
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").startswith(COURSE)
    return isinstance(node, ast.Import) and any(a.name.startswith(COURSE) for a in node.names)
