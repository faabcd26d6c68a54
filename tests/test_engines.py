"""Engines: units in processes of their own end as they would here; a killed one begins again."""

import multiprocessing
import os
import time
from pathlib import Path

import engine_work
import pytest
import torch

from bomrl_lite.course.engines import RETRIES, in_this_process, make_engine
from bomrl_lite.course.engines.processes import process_engine


def by_number(ended):
    return {done.number: done for done in ended}


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_every_item_is_done_once_in_processes_of_their_own(jobs):
    ended = list(process_engine(jobs)(engine_work.square, [3, 4, 5]))
    assert sorted(done.number for done in ended) == [0, 1, 2]
    values = [by_number(ended)[number].result() for number in range(3)]
    assert [value for value, _ in values] == [9, 16, 25]
    assert len({os.getpid(), *(pid for _, pid in values)}) == 4


def test_no_items_are_no_work():
    assert list(process_engine(2)(engine_work.square, [])) == []
    assert list(in_this_process(engine_work.square, [])) == []


def test_a_unit_has_one_thread_whatever_was_set():
    torch.set_num_threads(2)
    try:
        (done,) = in_this_process(engine_work.threads, [0])
    finally:
        torch.set_num_threads(1)
    assert done.result() == 1


@pytest.mark.parametrize("engine", [in_this_process, process_engine(2)])
def test_what_a_unit_raises_ends_no_other(engine):
    ended = by_number(engine(engine_work.fail, ["value", "odd", "arithmetic"]))
    for number, (kind, text) in enumerate(
        [(ValueError, "no value"), (RuntimeError, "OddError: 1 and 2"), (ArithmeticError, "no ar")]
    ):
        with pytest.raises(kind, match=text) as raised:
            ended[number].result()
        assert "in fail" in raised.value.__notes__[0]  # the traceback of where it was


def test_a_killed_unit_begins_again_and_the_others_go_on(tmp_path):
    items = [(str(tmp_path / "a"), RETRIES + 1), (str(tmp_path / "b"), 1)]
    ended = by_number(process_engine(2)(engine_work.die, items))
    assert [ended[number].result() for number in (0, 1)] == [RETRIES + 1, 1]


def test_a_unit_that_is_killed_each_time_says_so(tmp_path):
    file = tmp_path / "a"
    (done,) = process_engine(2)(engine_work.die, [(str(file), RETRIES + 2)])
    with pytest.raises(ChildProcessError, match=r"killed 3 times \(signal 9\).*want of memory"):
        done.result()
    assert len(file.read_text()) == RETRIES + 1
    (done,) = process_engine(2)(engine_work.leave, [0])
    with pytest.raises(ChildProcessError, match="exit code 9"):
        done.result()


def test_closing_an_engine_ends_what_runs():
    running = process_engine(2)(time.sleep, [0, 1000, 1000])
    assert next(running).number == 0
    running.close()
    assert multiprocessing.active_children() == []


def test_engines_by_name():
    folder = Path()
    assert make_engine("local", folder) is in_this_process
    assert make_engine("local", folder, jobs=1) is in_this_process
    assert make_engine("local", folder, jobs=2) is not in_this_process
    for jobs in (0, -1, True, 1.5):
        with pytest.raises(ValueError, match="jobs must be"):
            make_engine("local", folder, jobs=jobs)
    with pytest.raises(ValueError, match="Ray cluster: add --engine ray"):
        make_engine("local", folder, address="auto")
