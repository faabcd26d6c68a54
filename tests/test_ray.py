"""Sweeps and experiments on Ray: real nodes on this machine, one of which is killed."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest
from test_sweep import (
    GATED,
    at_the_gate,
    gated_command,
    gated_environment,
    notes,
    wait_for,
    without_seconds,
    yaml_file,
)

from bomrl_lite.course.engines import WrongNodeError, make_engine, on_ray
from bomrl_lite.course.experiments import run
from bomrl_lite.course.experiments.setting import Scale
from bomrl_lite.training.folder_guard import conditions

pytest.importorskip("ray", exc_type=ImportError)
pytestmark = pytest.mark.skipif(os.name == "nt", reason="clusters of Ray on Windows are untested")


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Two nodes of one processor each, which know the gate of the family that waits."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name, value in gated_environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=small)
    cluster.second = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    yield cluster
    cluster.shutdown()


def node_of(pid, nodes):
    """The node one of whose processes started this one."""
    above = {parent.pid for parent in psutil.Process(pid).parents()}
    (found,) = [node for node in nodes if above & {p.pid for p in raylets(node)}]
    return found


def raylets(node):
    return [found.process for found in node.all_processes["raylet"]]


def test_a_unit_whose_node_is_killed_goes_on_at_another_and_no_bit_differs(cluster, tmp_path):
    file, out, gate = yaml_file(tmp_path, GATED), tmp_path / "out", tmp_path / "closed"
    gate.touch()
    how = gated_environment(tmp_path)
    process = subprocess.Popen(
        gated_command(file, out, "--engine", "ray", "--address", cluster.address),
        env=how,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for(lambda: len(at_the_gate(out)) == 2, process)
    pids = [int(note["place"].rpartition(":")[2]) for note in notes(out)]
    nodes = [node_of(pid, [cluster.head_node, cluster.second]) for pid in pids]
    assert set(nodes) == {cluster.head_node, cluster.second}
    (lost,) = [pid for pid, node in zip(pids, nodes, strict=True) if node is cluster.second]
    cluster.remove_node(cluster.second, allow_graceful=False)
    wait_for(lambda: not psutil.pid_exists(lost), process)
    gate.unlink()
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    assert "Traceback" not in said, said
    assert all(f"{count}/2  test/gated lvc_maml seed=" in said for count in (1, 2)), said

    attempts = {f.parent: json.loads(f.read_text()) for f in out.glob("runs/*/attempts.json")}
    (kept, moved) = sorted(attempts.values(), key=len)
    assert [attempt["from"] for attempt in kept] == [0]
    assert [attempt["from"] for attempt in moved] == [0, 2]  # it did not begin anew
    assert moved[0]["place"].endswith(f":{lost}")
    assert moved[1]["place"] != moved[0]["place"]

    local = subprocess.run(
        gated_command(file, tmp_path / "local"), env=how, capture_output=True, text=True
    )
    assert local.returncode == 0, local.stderr
    assert without_seconds(out / "s.csv") == without_seconds(tmp_path / "local" / "s.csv")
    for folder in (tmp_path / "local" / "runs").iterdir():
        for name in ("history.csv", "evaluation.csv"):
            theirs = (out / "runs" / folder.name / name).read_bytes()
            assert (folder / name).read_bytes() == theirs


def test_an_experiment_on_ray_has_the_table_of_a_local_one(tmp_path, monkeypatch, capfd):
    """On Ray that is started for it alone, which says nothing and leaves the signals to us."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    scale, handlers = Scale(seeds=2, iterations=1, num_tasks=2, num_test=2), []

    def mine(number, frame):
        raise AssertionError

    def table(name):
        folder = tmp_path / name
        engine = make_engine(name, folder, jobs=1)
        return run(
            "condition",
            scale=scale,
            out=folder,
            runs=folder,
            engine=engine,
            progress=lambda line: handlers.append(signal.getsignal(signal.SIGTERM)),
        ).read_bytes()

    before = signal.signal(signal.SIGTERM, mine)
    try:
        assert table("local") == table("ray")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert handlers == 4 * [mine]
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.glob("*/.seen-by-all-*"))
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_where_nobody_answers_it_says_so_at_once(tmp_path):
    engine = make_engine("ray", tmp_path, address="127.0.0.1:1")
    assert list(engine(str, [])) == []  # nothing to do, nobody to ask
    with pytest.raises(ConnectionError, match=r"no Ray cluster answers at 127\.0\.0\.1:1 \(Conn"):
        next(engine(str, [1]))


def test_a_node_of_other_versions_is_refused():
    here = conditions()
    on_ray.require_same(here, here)
    with pytest.raises(WrongNodeError, match=r"other versions .*torch 1\.0 -> 2.*on every node"):
        on_ray.require_same({**here, "torch": "1.0"}, here)


def test_a_node_that_does_not_see_the_folder_is_refused(tmp_path):
    token = tmp_path / "token"
    with pytest.raises(WrongNodeError, match=r"does not see what was written to .*--out"):
        on_ray.require_seen(token, within=0.0)
    token.touch()
    on_ray.require_seen(token, within=0.0)


def test_a_wrong_node_ends_the_sweep_with_its_words(tmp_path):
    driver = on_ray._Driver({**conditions(), "python": "2.7"}, [], tmp_path / "none")
    done = on_ray._on_worker(str, 3, 1, driver)
    assert done.number == 3
    assert isinstance(done.error, WrongNodeError)
    fine = on_ray._Driver(conditions(), ["/a/folder"], tmp_path)
    try:
        assert on_ray._on_worker(str, 3, 1, fine).result() == "1"
        assert sys.path[-1] == "/a/folder"
    finally:
        sys.path.remove("/a/folder")
