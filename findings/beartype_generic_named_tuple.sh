#!/usr/bin/env bash
# beartype 0.23.1, Python 3.11: a generic NamedTuple is refused as the type of an argument.
#
# `class Pair(NamedTuple, Generic[T])` has been valid since Python 3.11; such records are what
# torch.func.vmap takes. A function with such an argument, subscripted (`Pair[int]`) or not
# (`Pair`), is refused when it is decorated, before any call, and the message itself says that the
# hint was "erroneously detected as supported". The same record without `Generic` is checked.
# typeguard 4.6.0 checks all three, on the same classes and values.
#
# Seen (2026-11-27):
#   beartype Plain: 3
#   beartype Pair: BeartypeDecorHintPepUnsupportedException ... erroneously detected as supported
#   beartype Pair[int]: BeartypeDecorHintPepUnsupportedException ... (the same)
#   typeguard Plain: 3
#   typeguard Pair: 3
#   typeguard Pair[int]: 3
#
# Way round: a frozen dataclass in place of the NamedTuple, or no `Generic`.
# Exits 0 while this is so, else 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet beartype==0.23.1 typeguard==4.6.0
cat >"$folder/named_tuple.py" <<'PYTHON'
from typing import Generic, NamedTuple, TypeVar

import beartype
import typeguard

T = TypeVar("T")


class Pair(NamedTuple, Generic[T]):
    first: T
    second: T


class Plain(NamedTuple):
    first: int
    second: int


def total_of_plain(pair: Plain) -> int:
    return pair.first + pair.second


def total(pair: Pair) -> int:
    return pair.first + pair.second


def total_of_ints(pair: Pair[int]) -> int:
    return pair.first + pair.second


for name, check in (("beartype", beartype.beartype), ("typeguard", typeguard.typechecked)):
    for hint, function, value in (
        ("Plain", total_of_plain, Plain(1, 2)),
        ("Pair", total, Pair(1, 2)),
        ("Pair[int]", total_of_ints, Pair(1, 2)),
    ):
        try:
            print(f"{name} {hint}: {check(function)(value)}")
        except Exception as error:
            print(f"{name} {hint}: {type(error).__name__} {error}")
PYTHON
seen=$("$folder/env/bin/python" "$folder/named_tuple.py")
echo "$seen"
refusal='BeartypeDecorHintPepUnsupportedException .*erroneously detected as supported'
grep -q '^beartype Plain: 3$' <<<"$seen"
grep -q "^beartype Pair: $refusal" <<<"$seen"
grep -q "^beartype Pair\[int\]: $refusal" <<<"$seen"
for hint in 'Plain' 'Pair' 'Pair\[int\]'; do grep -q "^typeguard $hint: 3$" <<<"$seen"; done
