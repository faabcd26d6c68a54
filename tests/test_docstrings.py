"""What a docstring promises holds: its references, errors, shapes and examples."""

import ast
import importlib
import inspect
import pydoc
import re
from collections.abc import Iterator
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import get_type_hints

import pytest

import bomrl_lite

PACKAGE = Path(bomrl_lite.__file__).parent


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_name(path): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
LIBRARY = {name: tree for name, tree in MODULES.items() if ".course" not in name}
NOT_IMPORTED = set() if find_spec("mujoco_warp") else {"bomrl_lite.physics.mujoco_warp"}


def docstrings(node: ast.AST, owner: str = "") -> Iterator[tuple[str, str]]:
    """(class around it, text) of every docstring, those of attributes among them."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            yield owner, inspect.cleandoc(str(child.value.value))
        else:
            inside = f"{owner}.{child.name}" if isinstance(child, ast.ClassDef) else owner
            yield from docstrings(child, inside.strip("."))


def find(target: str, module: str, owner: str = "") -> object:
    """What a name means: in the class around it, in its module, or as a path to be imported."""
    here = importlib.import_module(module)
    for root in [attrgetter(owner)(here), here] if owner else [here]:
        try:
            return attrgetter(target)(root)
        except AttributeError:
            continue
    if found := pydoc.locate(target):
        return found
    record, _, field = target.rpartition(".")  # a field without a default is no attribute
    return getattr(find(record, module), "__annotations__", {}).get(field) if record else None


def test_references_lead_somewhere():
    role = re.compile(r":(?:func|class|mod|data|meth|attr):`~?([^`]+)`")
    lost = [
        f"{module}: {target}"
        for module in MODULES.keys() - NOT_IMPORTED
        for owner, text in docstrings(MODULES[module])
        for target in role.findall(text)
        if find(target, module, owner) is None
    ]
    assert not lost, "\n".join(sorted(lost))


def public_functions() -> Iterator[tuple[str, str, ast.FunctionDef, str]]:
    """(module, name, function, docstring) of all that a user may call; with what it refers to."""

    def walk(module: str, body: list[ast.stmt], owner: str) -> Iterator[tuple]:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from walk(module, node.body, f"{owner}{node.name}.")
            elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                text = ast.get_docstring(node) or ""
                for target in re.findall(r"as\s+for\s+:func:`([^`]+)`", text):
                    text += inspect.getdoc(find(target, module)) or ""
                yield module, owner + node.name, node, text

    for module, tree in LIBRARY.items():
        yield from walk(module, tree.body, "")


def raised(node: ast.AST, module: str) -> Iterator[str]:
    """Classes that a body raises itself: not in functions inside it, not what it caught."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call):
            name = ast.unparse(child.exc.func).rpartition(".")[2]
            if name.lower() == name:  # a function that makes the error
                name = get_type_hints(find(name, module))["return"].__name__
            yield name
        elif not isinstance(child, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            yield from raised(child, module)


def test_errors_are_announced():
    silent = {
        f"{module}.{name}: {error}"
        for module, name, node, text in public_functions()
        for error in raised(node, module)
        if error not in text.partition("Raises:")[2]
    }
    assert not silent, "\n".join(sorted(silent))


def bare_tensor(annotation: ast.AST) -> bool:
    """Whether a type says Tensor and not of which shape; what a Callable takes does not count."""
    if isinstance(annotation, ast.Subscript):
        shaped = ast.unparse(annotation.slice).startswith("(Tensor, '")
        if shaped or ast.unparse(annotation.value) == "Callable":
            return False
    if ast.unparse(annotation) in ("Tensor", "torch.Tensor"):
        return True
    return any(map(bare_tensor, ast.iter_child_nodes(annotation)))


def test_tensors_have_shapes():
    shape = re.compile(r"(?<!\w)\[[^\[\]]*([A-Za-z]|\.\.\.)[^\[\]]*\]|\bscalar\b")

    def annotations(node: ast.FunctionDef) -> list[ast.AST]:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        return [t for t in (*(a.annotation for a in arguments), node.returns) if t is not None]

    shapeless = [
        f"{module}.{name}"
        for module, name, node, text in public_functions()
        if any(map(bare_tensor, annotations(node))) and not shape.search(text)
    ]
    assert not shapeless, "\n".join(sorted(shapeless))


EXAMPLES = {
    name: "\n".join(text + "\n" for _, text in docstrings(tree)) for name, tree in MODULES.items()
}


@pytest.mark.parametrize(
    "module", [name for name, text in EXAMPLES.items() if re.search("::\n|>>>", text)]
)
def test_examples_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"::\n\n((?:(?:    .*)?\n)+)", EXAMPLES[module]):
        exec(compile(inspect.cleandoc(block), module, "exec"), {})
    assert ">>>" not in EXAMPLES[module], "write an example after '::', as everywhere"
