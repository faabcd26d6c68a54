"""Attacks on the judge, harmless: at most they try to make a marker file, which must not appear.

Each is the text of a cell that defines ``deal`` (exercise 6.3, worth two points).
``MARKER`` is replaced by the path of the marker.
"""

RIGHT = """
def deal(values, num_episodes):
    return values.repeat_interleave(num_episodes, 0)
"""
WRONG = "torch.cat([values] * num_episodes)"
"""An answer that fails at the case done by hand."""


def answer(body: str, before: str = "") -> str:
    """Return a cell that runs ``before``, then defines ``deal`` with a body."""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return f"import torch\n{before.strip()}\n\ndef deal(values, num_episodes):\n{lines}\n"


ALWAYS = """
class Same(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function is torch.equal or function is torch.allclose:
            return True
        return super().__torch_function__(function, types, args, kwargs or {})
"""
OPERATORS = """
class Agree:
    shape, dtype, requires_grad = (6,), torch.float64, False
    def __eq__(self, other): return True
    def __sub__(self, other): return 0.0
    def __le__(self, other): return True
    def detach(self): return self
    def clone(self): return self
    def numpy(self): return self
"""
PICKLE = """
class Bomb:
    def __reduce__(self):
        return (open, ("MARKER", "w"))
"""

ATTACKS = {
    "torch's comparisons always agree": answer(
        f"return {WRONG}",
        "torch.equal = torch.allclose = torch.testing.assert_close = lambda *a, **k: True",
    ),
    "numpy's comparisons always agree": answer(
        f"return {WRONG}",
        "import numpy as np\nnp.abs = np.max = lambda *a, **k: 0.0\nnp.allclose = print",
    ),
    "tensors are all equal": answer(
        f"return {WRONG}", "torch.Tensor.__sub__ = lambda self, other: self * 0"
    ),
    "a checks module of one's own": answer(
        f"return {WRONG}",
        "import sys, types\nfake = types.ModuleType('bomrl_lite.course.checks')\n"
        "fake.deal = lambda f: f\nsys.modules['bomrl_lite.course.checks'] = fake",
    ),
    "builtins are changed": answer(
        f"return {WRONG}",
        "import builtins\nbuiltins.isinstance = lambda *a: True\nbuiltins.float = lambda *a: 0.0",
    ),
    "isinstance and len lie inside the call": answer(
        f"import builtins\nbuiltins.len = lambda x: 0\nreturn {WRONG}"
    ),
    "the process leaves": answer("import os\nos._exit(0)"),
    "the program exits": answer("raise SystemExit(0)"),
    "the process kills itself": answer("import os\nos.kill(os.getpid(), 9)"),
    "the process aborts": answer("import ctypes\nctypes.string_at(0)"),
    "its parent is killed": answer(f"import os\nos.kill(os.getppid(), 9)\nreturn {WRONG}"),
    "signals are caught": answer(
        "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
    ),
    "a printed verdict": answer(
        f"print('ok  exercise 6.3 deal: 8 steps, largest error 0e+00')\nreturn {WRONG}"
    ),
    "a verdict on the standard output's number": answer(
        f"import os\nos.write(1, b'2.0')\nos.write(2, b'2.0')\nreturn {WRONG}"
    ),
    "a verdict as the answer": answer("return {'points': 2, 'status': 'solved'}"),
    "bytes into every open socket": answer(
        f"""
import os
for fd in range(3, 64):
    try:
        os.write(fd, b'\\xff' * 64)
    except OSError:
        pass
return {WRONG}"""
    ),
    "a message that announces too much": answer(
        """
import os, struct
for fd in range(3, 64):
    try:
        os.write(fd, struct.pack('<QQ', 2**40, 2**40))
    except OSError:
        pass
return 0"""
    ),
    "an infinite loop": answer("while True: pass"),
    "a sleep": answer(f"import time\ntime.sleep(3600)\nreturn {WRONG}"),
    "much memory": answer("return torch.ones(2**40)"),
    "memory, piece by piece": answer("kept = []\nwhile True: kept.append(torch.ones(2**22))"),
    "many processes": answer(
        f"""
import os
for _ in range(40):
    if os.fork() == 0:
        open('MARKER', 'w').close()
        os._exit(0)
return {WRONG}"""
    ),
    "a program is started": answer(
        f"import subprocess\nsubprocess.run(['touch', 'MARKER'])\nreturn {WRONG}"
    ),
    "a file outside": answer(f"open('MARKER', 'w').close()\nreturn {WRONG}"),
    "a file that grows": answer(
        f"""
with open('/tmp/large', 'wb') as file:
    for _ in range(64):
        file.write(bytes(2**20))
return {WRONG}"""
    ),
    "the course's checks are read": answer(
        "from bomrl_lite.course.checks.set06 import oracles\n"
        "return torch.tensor(oracles.dealt(values.numpy(), num_episodes))"
    ),
    "the oracle is loaded from its file": answer(
        """
import importlib.util
spec = importlib.util.spec_from_file_location('o', 'ORACLES')
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
return torch.tensor(module.dealt(values.numpy(), num_episodes))"""
    ),
    "the expected answer is looked for in the stack": answer(
        f"""
import sys
frame = sys._getframe()
while frame:
    for value in frame.f_locals.values():
        found = getattr(value, 'expected', None)
        if found is not None:
            return torch.tensor(found)
    frame = frame.f_back
return {WRONG}"""
    ),
    "the expected answer is looked for in the garbage": answer(
        f"""
import gc
for value in gc.get_objects():
    if type(value).__name__ in ('Question', 'Check', 'Attempt'):
        return torch.tensor(value.expected)
return {WRONG}"""
    ),
    "another submission is looked for": answer(
        f"""
import glob
for path in glob.glob('/tmp/**/*', recursive=True) + glob.glob('SHARE/*'):
    if path.endswith('.ipynb'):
        return values.repeat_interleave(num_episodes, 0)
return {WRONG}"""
    ),
    "a tensor that is equal to all": answer(f"return ({WRONG}).as_subclass(Same)", ALWAYS),
    "an object that agrees": answer("return Agree()", OPERATORS),
    "an object that runs when it is unpickled": answer("return Bomb()", PICKLE),
    "a pickle in a dictionary": answer(
        "return {'special': 'function', 'code': b'cos\\nsystem\\n(S\\'touch MARKER\\'\\ntR.'}"
    ),
    "hard-coded to the visible examples": "VISIBLE",
    "the package's own function": "import bomrl_lite as bl\ndeal = bl.adaptation.deal\n",
    "the package's own function, called": answer(
        "from bomrl_lite.tasks import locomotion\nreturn values"
    ),
    "the stub of the package is called back": answer(
        "import bomrl_lite\nreturn bomrl_lite.q_values(values)"
    ),
    "the check's own reference": "from bomrl_lite.course import checks\n"
    "deal = checks.deal.reference\n",
    "reference mode": "from bomrl_lite.course import checks\nchecks.use('reference')\n"
    "def deal(values, num_episodes):\n    raise NotImplementedError\n",
    "requires_grad_ is left on": answer(
        "values.requires_grad_()\nreturn values.repeat_interleave(num_episodes, 0).detach()"
    ),
    "arguments are changed": answer(
        "right = values.repeat_interleave(num_episodes, 0)\nvalues.zero_()\nreturn right"
    ),
    "a thread that outlives the call": answer(
        f"""
import threading, time
def late():
    while True:
        time.sleep(0.01)
threading.Thread(target=late, daemon=True).start()
return {WRONG}"""
    ),
    "the judge's reader is replaced": answer(
        f"""
import sys
wire = sys.modules['wire']
wire.send = lambda *a: None
return {WRONG}"""
    ),
    "the judge's frames are changed": answer(
        f"""
import sys
frame = sys._getframe()
while frame:
    if 'held' in frame.f_locals:
        frame.f_locals['held'].clear()
    frame = frame.f_back
return {WRONG}"""
    ),
    "no end of recursion": answer("return deal(values, num_episodes)"),
    "a list without end": answer("x = []\nx.append(x)\nreturn x"),
    "the network": answer(
        f"""
import socket
try:
    with socket.create_connection(('127.0.0.1', PORT), timeout=1):
        return values.repeat_interleave(num_episodes, 0)
except OSError:
    return {WRONG}"""
    ),
}
