"""Mutation operators of this field, for cosmic-ray: mistakes that its own cannot make.

Each is a function from a node of the syntax tree to the texts that may take the node's place.
"""

from collections.abc import Callable, Iterator
from typing import ClassVar

from cosmic_ray.operators.operator import Example, Operator
from parso.python.tree import Name
from parso.tree import NodeOrLeaf, search_ancestor

Replacements = Callable[[NodeOrLeaf], Iterator[str]]

OPPOSITES = [
    ("mean", "sum"),
    ("max", "min"),
    ("amax", "amin"),
    ("maximum", "minimum"),
    ("zeros_like", "ones_like"),
    ("log_softmax", "softmax"),
]
DIFFERENTIABLE = {"exp", "log_prob", "log_probs", "log_softmax", "softmax", "weighted_q"}
"""Calls whose result a meta-gradient goes through."""
DISTANCE_WORDS = ("divergence", "distance", "kl", "d1", "d2")
SMALLEST_CONSTANT = 1e-6
"""Of those that are doubled: what is smaller is a tolerance, and a tolerance twice as large is none
too large."""


def text_of(node: NodeOrLeaf) -> str:
    """Return a node's code."""
    return node.get_code(include_prefix=False)


def opposite_name(node: NodeOrLeaf) -> Iterator[str]:
    """Sum for mean, largest for smallest."""
    before = node.get_previous_leaf() if node.type == "name" else None
    if before is not None and before.value == ".":
        for one, other in OPPOSITES:
            if node.value in (one, other):
                yield other if node.value == one else one


def lost_call(node: NodeOrLeaf) -> Iterator[str]:
    """Detached, copied or transposed no longer."""
    parts = list(map(text_of, node.children)) if node.type == "atom_expr" else []
    for index, part in enumerate(parts):
        if part in (".detach", ".clone") and parts[index + 1 : index + 2] == ["()"]:
            yield "".join(parts[:index] + parts[index + 2 :])
        if part in (".mT", ".T"):
            yield "".join(parts[:index] + parts[index + 1 :])


def added_detach(node: NodeOrLeaf) -> Iterator[str]:
    """A factor that no gradient goes through any more."""
    called = _name_of_call(node)
    if called in DIFFERENTIABLE:
        yield f"{text_of(node)}.detach()"


def swapped_arguments(node: NodeOrLeaf) -> Iterator[str]:
    """The other direction of a KL divergence."""
    if any(word in _name_of_call(node) for word in DISTANCE_WORDS):
        yield from _with_swapped(node, 0)


def swapped_branches(node: NodeOrLeaf) -> Iterator[str]:
    """What ``torch.where`` should take where a condition holds, taken where it does not."""
    if node.type == "atom_expr" and [text_of(child) for child in node.children[1:-1]] == [".where"]:
        yield from _with_swapped(node, 1)


def other_policy(node: NodeOrLeaf) -> Iterator[str]:
    """Phi where theta belongs, and the other way round: stale log-probabilities, for one."""
    other = {"theta": "phi", "phi": "theta", "log_theta": "log_phi", "log_phi": "log_theta"}
    if text_of(node) in other and node.parent.type in ("arglist", "trailer"):
        function = search_ancestor(node, "funcdef")
        if function is not None and other[text_of(node)] in _names_in(function):
            yield other[text_of(node)]


def other_split(node: NodeOrLeaf) -> Iterator[str]:
    """Held-out tasks for training, or training tasks for evaluation."""
    other = {'"train"': '"test"', '"test"': '"train"'}
    if node.type == "string" and node.value in other and "Literal" not in text_of(node.parent):
        yield other[node.value]


def discount_of_one_more_step(node: NodeOrLeaf) -> Iterator[str]:
    """Gamma times gamma."""
    computed = node.parent is not None and node.parent.type in ("term", "arith_expr", "power")
    if computed and text_of(node) in ("gamma", "discount"):
        yield f"({text_of(node)} * {text_of(node)})"


def lost_operand(node: NodeOrLeaf) -> Iterator[str]:
    """Without the last factor, divisor or summand: not normalised, no bonus, no baseline."""
    if node.type in ("term", "arith_expr") and text_of(node.children[-2]) in ("*", "/", "+", "-"):
        yield "".join(child.get_code() for child in node.children[:-2]).strip()


def doubled_constant(node: NodeOrLeaf) -> Iterator[str]:
    """A constant of an optimiser, or another, twice as large."""
    written = node.value if node.type == "number" else ""
    if ("." in written or "e" in written) and float(written) >= SMALLEST_CONSTANT:
        yield repr(2 * float(written))


def lost_stride(node: NodeOrLeaf) -> Iterator[str]:
    """Every sample where every k-th was meant."""
    if node.type == "subscript" and text_of(node).startswith("::"):
        yield ":"


def _name_of_call(node: NodeOrLeaf) -> str:
    """Return what is called, without what it is an attribute of; "" if the node is no call."""
    if node.type != "atom_expr" or not text_of(node.children[-1]).startswith("("):
        return ""
    return text_of(node.children[-2]).strip(".")


def _with_swapped(call: NodeOrLeaf, first: int) -> Iterator[str]:
    """Yield a call with two neighbouring positional arguments in the other order."""
    arguments = call.children[-1].children[1:-1]
    if len(arguments) != 1 or arguments[0].type != "arglist":
        return
    words = [child for child in arguments[0].children if text_of(child) != ","]
    pair = words[first : first + 2]
    if len(pair) == 2 and all(word.type != "argument" for word in pair):
        texts = [text_of(word) for word in words]
        texts[first : first + 2] = reversed(texts[first : first + 2])
        yield "".join(map(text_of, call.children[:-1])) + f"({', '.join(texts)})"


def _names_in(node: NodeOrLeaf) -> set[str]:
    if node.type == "name":
        return {node.value}
    return set().union(*map(_names_in, getattr(node, "children", ())))


EXAMPLES: dict[Replacements, tuple[str, str]] = {
    opposite_name: ("loss = x.mean(0)", "loss = x.sum(0)"),
    lost_call: ("old = phi.detach()", "old = phi"),
    added_detach: ("ratio = (new - old).exp()", "ratio = (new - old).exp().detach()"),
    swapped_arguments: ("kl = divergence(old, new, p=1)", "kl = divergence(new, old, p=1)"),
    swapped_branches: ("x = torch.where(ok, a, b)", "x = torch.where(ok, b, a)"),
    other_policy: ("def f(phi, theta): return g(phi)", "def f(phi, theta): return g(theta)"),
    other_split: ('draw(8, "train")', 'draw(8, "test")'),
    discount_of_one_more_step: ("q = r + gamma * v", "q = r + (gamma * gamma) * v"),
    lost_operand: ("weights = w / w.sum()", "weights = w"),
    doubled_constant: ("adam(betas=(0.9, 1))", "adam(betas=(1.8, 1))"),
    lost_stride: ("kept = samples[::stride]", "kept = samples[:]"),
}
"""The operators, each with a line before and after."""


def _operator(replacements: Replacements) -> type[Operator]:
    """Make cosmic-ray's kind of operator."""

    class FieldOperator(Operator):
        def mutation_positions(self, node):
            for _ in replacements(node):
                yield node.start_pos, node.end_pos

        def mutate(self, node, index):
            # A leaf may hold any text: the tree's code is the texts of its leaves.
            prefix = node.get_first_leaf().prefix
            return Name(list(replacements(node))[index], node.start_pos, prefix)

        @classmethod
        def examples(cls):
            return (Example(*EXAMPLES[replacements]),)

    return FieldOperator


class FieldOperators:
    """What cosmic-ray calls a provider of operators."""

    _operators: ClassVar = {
        replacements.__name__: _operator(replacements) for replacements in EXAMPLES
    }

    def __iter__(self) -> Iterator[str]:
        return iter(self._operators)

    def __getitem__(self, name: str) -> type[Operator]:
        return self._operators[name]
