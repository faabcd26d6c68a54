#!/usr/bin/env bash
# torch 2.13.0: `torch.func.jvp` in two threads at once gives a derivative of 0, without a word.
#
# Reverse mode (grad, vjp) may run in several threads. Forward mode may not: its level is one for the
# whole process. A derivative that begins while another thread's is being taken, and ends after it,
# finds its level gone: d sin(x) / dx at 0 comes out as 0 in place of 1. Where the threads overlap
# otherwise a RuntimeError about forward AD levels is raised; `torch.func.hessian` and `jacfwd` are
# built on the same.
#
# Seen (2026-11-28, Python 3.11):
#   grad: first 1, second 1
#   vjp: first 1, second 1
#   jvp: first 1, second 0
#
# Way round: a lock around forward derivatives, or reverse mode.
# Exits 0 while this is so, else 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.2
cat >"$folder/threads.py" <<'PYTHON'
import threading

import torch
from torch.func import grad, jvp, vjp

X, ONE = torch.tensor(0.0), torch.tensor(1.0)
WAYS = {
    "grad": lambda f: grad(f)(X),
    "vjp": lambda f: vjp(f, X)[1](ONE)[0],
    "jvp": lambda f: jvp(f, (X,), (ONE,))[1],
}


def overlapping(derive):
    """Begin in one thread, begin in another, end in the first, end in the other."""
    other_began, first_ended, got = threading.Event(), threading.Event(), {}

    def in_other(x):
        other_began.set()
        first_ended.wait(60)
        return x.sin()

    other = threading.Thread(target=lambda: got.update(second=derive(in_other).item()))

    def in_first(x):
        other.start()
        other_began.wait(60)
        return x.sin()

    got["first"] = derive(in_first).item()
    first_ended.set()
    other.join(60)
    return got


for name, derive in WAYS.items():
    got = overlapping(derive)
    print(f"{name}: first {got['first']:g}, second {got['second']:g}")
PYTHON
seen=$("$folder/env/bin/python" "$folder/threads.py")
echo "$seen"
grep -qx 'grad: first 1, second 1' <<<"$seen"
grep -qx 'vjp: first 1, second 1' <<<"$seen"
grep -qx 'jvp: first 1, second 0' <<<"$seen"
