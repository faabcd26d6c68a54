#!/usr/bin/env bash
# torchrl 0.14.1 (tensordict 0.14.3), gymnasium 1.4.0, torch 2.13.0, Python 3.11: GymWrapper reads a
# gymnasium batch with SAME_STEP autoreset only if no info of the environments is a dictionary.
#
# gymnasium's vector environments stack an info that is a dictionary into a dictionary of arrays, in
# every mode. torchrl names two modes that it takes, SAME_STEP and DISABLED. With DISABLED both kinds
# of info work; with SAME_STEP an environment whose info holds {"task": {"goal": 1.0}} ends, at the
# first step, in "RuntimeError: generator raised StopIteration", which says neither what is wrong nor
# which key; the same environment with {"goal": 1.0} works.
#
# Seen (2026-11-27):
#   SAME_STEP flat: 7 steps
#   SAME_STEP nested: RuntimeError generator raised StopIteration
#   DISABLED flat: 7 steps
#   DISABLED nested: 7 steps
#
# Way round: DISABLED, which torchrl prefers anyway, or infos without dictionaries.
# Exits 0 while this is so, else 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 torchrl==0.14.1 \
    tensordict==0.14.3 gymnasium==1.4.0
cat >"$folder/batch.py" <<'PYTHON'
import logging

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

logging.disable(logging.INFO)
from torchrl.envs import GymWrapper


class Count(gymnasium.Env):
    """Says how many steps were taken, and is cut off after three."""

    observation_space = gymnasium.spaces.Box(0, 10, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, info):
        self.info = info

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), self.info

    def step(self, action):
        self.steps += 1
        return np.full(1, self.steps, np.float32), 1.0, False, self.steps == 3, self.info


for mode in (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED):
    for kind, info in (("flat", {"goal": 1.0}), ("nested", {"task": {"goal": 1.0}})):
        batch = SyncVectorEnv([lambda info=info: Count(info)] * 2, autoreset_mode=mode)
        try:
            rollout = GymWrapper(batch).rollout(7, break_when_any_done=False)
            said = f"{rollout.batch_size[1]} steps"
        except RuntimeError as error:
            said = f"RuntimeError {error}"
        print(f"{mode.name} {kind}: {said}")
PYTHON
cat >"$folder/seen" <<'SEEN'
SAME_STEP flat: 7 steps
SAME_STEP nested: RuntimeError generator raised StopIteration
DISABLED flat: 7 steps
DISABLED nested: 7 steps
SEEN
"$folder/env/bin/python" "$folder/batch.py" 2>/dev/null | tee "$folder/now"
diff "$folder/seen" "$folder/now" || { echo "behaves otherwise now" >&2; exit 1; }
