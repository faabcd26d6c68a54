"""The first row of the tables that `test_tables_again.py` leaves out: a training each (minutes).

`make tables` runs it; `make test` does not. What must be the same is said there.
"""

from functools import partial

import pytest
from test_tables_again import assert_same, scale_of, stored_rows

from bomrl_lite.course.experiments import EXPERIMENTS, train_once


@pytest.mark.parametrize(
    "name",
    [
        *("cheetah_tuning", "cheetah_velocity_tuning", "walker_tuning", "ant_tuning"),
        *("ant_direction_tuning", "collections", "levers", "walker_levers"),
    ],
)
def test_the_first_row_comes_out_again(name, tmp_path):
    rows = EXPERIMENTS[name].rows(0, scale_of(name), partial(train_once, runs=tmp_path))
    assert_same(next(iter(rows)), stored_rows(name)[0])
