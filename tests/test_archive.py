"""Files of tensors: same values, same bytes; whatever is done to a file shows."""

import hashlib
import io
import shutil

import pytest
import torch

import bomrl_lite as bl
from bomrl_lite.training.archive import checksum_of, pack, unpack

TREE = {"phi": {"w": torch.arange(6.0).reshape(2, 3)}, "rows": [{"a": 1.0}, {"a": float("nan")}]}
SMALL = bl.configure("maml", tasks="probe/random-5x3", num_tasks=2, iterations=4)
EPISODES = bl.configure(
    "promp", num_tasks=2, num_episodes=3, horizon=5, hidden=(4,), iterations=4, checkpoint_every=1
)


def test_what_is_packed_comes_back():
    back = unpack(pack(TREE))
    assert back.keys() == TREE.keys()
    assert torch.equal(back["phi"]["w"], TREE["phi"]["w"])
    assert str(back["rows"]) == str(TREE["rows"])


def test_equal_values_in_other_objects_give_the_same_bytes():
    name = "".join(["a", "b"])  # no object that another "ab" is
    shared, apart = [{"ab": 1.5}, {"ab": 2.5}], [{name: 1.5}, {str(name + "")[:2]: 2.5}]
    view = torch.zeros(3, 5)[:, 1]
    assert pack({"r": shared, "t": view}) == pack({"r": apart, "t": torch.zeros(3)})


@pytest.mark.parametrize("number", range(40))
def test_a_flipped_bit_is_noticed_wherever_it_changes_what_is_read(number):
    data = bytearray(pack(TREE))
    place = len(data) * number // 40
    data[place] ^= 1 << (number % 8)
    try:
        back = unpack(bytes(data))
    except ValueError:
        return
    assert checksum_of(back) == checksum_of(TREE)  # a bit that nobody reads: padding, a date


@pytest.mark.parametrize("kept", [0, 1, 4, 100, 0.5, 0.99])
def test_a_file_cut_short_is_refused(kept):
    data = pack(TREE)
    with pytest.raises(ValueError, match=r"empty|cut short|damaged|cannot read"):
        unpack(data[: int(kept if kept >= 1 or kept == 0 else kept * len(data))])


def change(path, edit) -> None:
    content = torch.load(path, weights_only=True)
    edit(content)
    torch.save(content, path)


def without_checksum(edit):
    """A file from before there were checksums, say, which its shapes must answer for."""

    def both(content):
        edit(content)
        content.pop("checksum", None)

    return both


def put(*keys_and_value):
    *keys, last, value = keys_and_value

    def edit(content):
        for key in keys:
            content = content[key]
        content[last] = value

    return edit


def first_leaf(content):
    return content["phi"]["logits"]


EDITS = {
    "phi that broadcasting would fit": (put("phi", "logits", torch.zeros(1, 3)), r"\(1, 3\)"),
    "phi of one number": (put("phi", "logits", torch.tensor(0.0)), r"logits.*\(\)"),
    "phi in single precision": (put("phi", "logits", torch.zeros(5, 3)), "float64.*float32"),
    "phi of numbers in a list": (put("phi", "logits", [0.0]), "must be a tensor"),
    "phi that is NaN": (
        lambda c: c["phi"]["logits"].fill_(torch.nan),
        "numbers that are not finite",
    ),
    "a foreign leaf": (
        put("phi", "w", torch.zeros(2)),
        r"must hold \['logits'\], got \['logits', 'w'\]",
    ),
    "phi that is no dictionary": (
        put("phi", torch.zeros(2)),
        r"must hold \['logits'\], got a tensor \(2,\) of torch.float32",
    ),
    "another learning rate": (put("optimizer", "param_groups", 0, "lr", 9.0), "lr = 9.0"),
    "another constant of Adam": (
        put("optimizer", "param_groups", 0, "betas", (0.9, 0.9)),
        r"betas = \(0.9, 0.9\)",
    ),
    "moments of another shape": (
        put("optimizer", "state", 0, "exp_avg", torch.zeros(2, dtype=torch.float64)),
        r"exp_avg.*\(2,\)",
    ),
    "a penalty that is text": (
        put("kl_penalty", "much"),
        "kl_penalty must be a number, got 'much'",
    ),
    "a history that is no list": (put("history", 3), "history"),
    "a row that is none": (put("history", 1, "x"), "row 1 of its history"),
    "a row that lacks a column": (lambda c: c["history"][2].pop("iteration"), "row 2"),
    "text in a row": (put("history", 1, "return_after", "good"), "row 1.*return_after"),
    "a configuration that is a list": (put("config", [1]), "configuration is a list"),
    "a newer format": (put("config", "format", 3), "format 3.*newer version"),
    "a setting of a newer version": (put("config", "colour", 3), "colour.*newer version"),
    "a setting out of range": (put("config", "learning_rate", -1.0), "learning_rate must be posi"),
    "a configuration too large": (put("config", "num_tasks", 2**30), "GB of memory"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    bl.meta_train(SMALL, out=folder)
    return folder


@pytest.mark.parametrize("old", [False, True], ids=["of today", "without a checksum"])
@pytest.mark.parametrize("name", EDITS)
def test_a_checkpoint_changed_by_hand_is_refused_and_stays(tmp_path, run, name, old):
    edit, words = EDITS[name]
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "checkpoint.pt"
    change(path, without_checksum(edit) if old else edit)
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match=rf"checkpoint\.pt is not .*{words if old else 'changed by'}"
    ):
        bl.load(tmp_path / "run")
    with pytest.raises(ValueError, match="is not a checkpoint"):
        bl.meta_train(SMALL.replace(iterations=6), out=tmp_path / "run", resume=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("config", [SMALL, EPISODES], ids=["exact", "episodes"])
@pytest.mark.parametrize("done", [0, 1, 3])
def test_the_files_of_a_resumed_run_are_those_of_one_never_stopped(tmp_path, config, done):
    def stop(now, total, row):
        if now == done:
            raise KeyboardInterrupt

    bl.meta_train(config, out=tmp_path / "whole")
    if done:
        with pytest.raises(KeyboardInterrupt):
            bl.meta_train(config, out=tmp_path / "resumed", progress=stop)
    bl.meta_train(config, out=tmp_path / "resumed", resume=True)
    bl.meta_train(config, out=tmp_path / "resumed", resume=True)  # a finished one: nothing changes
    for name in ("checkpoint.pt", "config.json", "history.csv", "origin.json"):
        digests = {
            hashlib.sha256((tmp_path / run / name).read_bytes()).hexdigest()
            for run in ("whole", "resumed")
        }
        assert len(digests) == 1, name


POLICY_EDITS = {
    "a leaf less": lambda c: c["phi"].pop("head.bias"),
    "a head of another width": put("phi", "head.weight", torch.zeros(2, 7)),
    "phi that is NaN": lambda c: c["phi"]["head.weight"].fill_(torch.nan),
    "moments of another robot": lambda c: c["moments"].update(mean=torch.zeros(3).double()),
    "a moment less": lambda c: c["moments"].pop("squares"),
    "no configuration": lambda c: c.pop("config"),
}


@pytest.mark.parametrize("name", POLICY_EDITS)
def test_a_policy_changed_by_hand_is_refused(tmp_path, name):
    config = bl.configure(
        "bomrl_head", tasks="cheetah/direction", num_tasks=1, num_episodes=2, horizon=3,
        hidden=(4,), iterations=1,
    )  # fmt: skip
    path = tmp_path / "policy.pt"
    bl.save_policy(config, bl.meta_train(config), path)
    bl.load_policy(path)
    change(path, without_checksum(POLICY_EDITS[name]))
    with pytest.raises(ValueError, match=r"policy\.pt is not a policy of this course"):
        bl.load_policy(path)
    assert io.BytesIO(path.read_bytes()).read(2) == b"PK"
