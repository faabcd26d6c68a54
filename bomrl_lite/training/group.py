r"""Processes that share the tasks of every iteration: what ``torchrun`` starts.

Each has the same phi, optimiser and random numbers, and simulates tasks of its own. Every mean over
tasks is made of everybody's, so that all take the same steps and none decides alone:

    \nabla_phi E_tau[J_tau] = 1/N \sum_k \sum_{tau of process k} \nabla_phi J_tau

Figures of one number a task are gathered, [N], and reckoned with as in one process; gradients are
summed. Both are one all-reduce of one flat tensor. Process 0 alone writes, locks and speaks.
"""

import contextlib
import os
import signal
import warnings
import zlib
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed, multiprocessing

from bomrl_lite.policies.draws import Shard, ShardedGenerator
from bomrl_lite.rollout.observations import Moments, merged
from bomrl_lite.training.stopping import stop_behind
from bomrl_lite.types import Params

Value = TypeVar("Value")
_torch = cast("Any", distributed)  # whose functions have no types

TIMEOUT = timedelta(hours=1)
"""For one all-reduce. A process that died is noticed by its closed connection, at once; this is for
one that is slow, which must not end a job: the first iteration on a GPU compiles for minutes."""
SAID = "bomrl_lite/said"
"""Where a process other than 0 leaves word of why it ends."""


class PeerLost(RuntimeError):  # noqa: N818 - names the state
    """Another process of the job has ended, and this one cannot go on without it."""


@dataclass(frozen=True)
class Group:
    """The processes of a job, seen from one of them; by default there is no other."""

    rank: int = 0
    """Number of this one, 0 to ``size`` - 1."""
    size: int = 1
    """How many there are."""
    here: int = 1
    """How many of them are on this machine."""

    def shard(self, num_tasks: int) -> Shard:
        """Return which of N tasks are one's own; shares differ by at most one task."""
        first, end = (num_tasks * rank // self.size for rank in (self.rank, self.rank + 1))
        return Shard(first, end - first, num_tasks)

    def own(self, tasks: Any) -> Any:
        """Return one's own of N tasks, a record of tensors [N, ...]."""
        if self.size == 1:
            return tasks
        shard = self.shard(len(tasks[0]))
        return type(tasks)(*(field[shard.rows(shard.own)] for field in tasks))

    def generator(self, generator: torch.Generator, num_tasks: int) -> torch.Generator:
        """Return a generator that goes on from there, and keeps the numbers of one's own tasks."""
        if self.size == 1:
            return generator
        sharded = ShardedGenerator(generator.device)
        sharded.set_state(generator.get_state())
        sharded.shard = self.shard(num_tasks)
        return sharded

    def gather(self, columns: Iterable[Tensor], num_tasks: int) -> list[Tensor]:
        """Return what all have for their tasks, [N] each, from what this one has for its own.

        No digit is lost: to each number the others add zeros.
        """
        own = list(columns)
        if self.size == 1:
            return own
        shard = self.shard(num_tasks)
        table = own[0].new_zeros((len(own), num_tasks), dtype=torch.float64)
        table[:, shard.rows(shard.own)] = torch.stack([column.double() for column in own])
        self._add(table)
        return [row.to(column) for row, column in zip(table, own, strict=True)]

    def sum(self, params: Params) -> Params:
        """Return the sum over the processes of tensors of the same shapes."""
        if self.size == 1:
            return params
        flat = torch.cat([leaf.detach().flatten() for leaf in params.values()])
        self._add(flat)
        parts = torch.split(flat, [leaf.numel() for leaf in params.values()])
        return {
            name: part.reshape(leaf.shape)
            for (name, leaf), part in zip(params.items(), parts, strict=True)
        }

    def mean(self, means: Params, num_tasks: int) -> Params:
        """Return the mean over all N tasks, from the means over one's own."""
        if self.size == 1:
            return means
        share = self.shard(num_tasks).own / num_tasks
        return self.sum({name: share * leaf for name, leaf in means.items()})

    def merged(self, moments: Moments) -> Moments:
        """Return the moments of what all have seen."""
        if self.size == 1:
            return moments
        own = torch.cat([moments.number.reshape(1), moments.mean, moments.squares])
        rows = torch.stack(self.gather(own.unsqueeze(-1), self.size), -1)
        size = len(moments.mean)
        first, *others = (Moments(row[0], row[1 : size + 1], row[size + 1 :]) for row in rows)
        for other in others:
            first = merged(first, other)
        return first

    def catch_up(self, generator: torch.Generator, steps: int) -> None:
        """Let all go on from the same random numbers, those of who took most steps.

        Episodes may end earlier in one process than in another, which then draws fewer.

        Raises:
            ValueError: the processes took equally many steps and drew differently.
        """
        if self.size == 1:
            return
        drawn = zlib.crc32(generator.get_state().numpy().tobytes())
        own = torch.tensor([steps, drawn], dtype=torch.float64)
        taken, states = self.gather(own.unsqueeze(-1), self.size)
        last = int(taken.argmax())
        if (taken == taken[last]).all() and (states != states[last]).any():
            raise ValueError(
                "the processes' random numbers are out of step: a simulator or policy of your own "
                "draws more for one task than for another. Draw by "
                "bomrl_lite.policies.draws.drawn, or train in one process"
            )
        if (taken != taken[last]).any():
            state = generator.get_state()
            with _words():
                _torch.broadcast(state, src=last)
            generator.set_state(state)

    def from_first(self, make: Callable[[], Value]) -> Value:
        """Return to all what process 0 makes.

        Raises:
            PeerLost: process 0 could not make it, in the others; in process 0 whatever it was.
        """
        if self.size == 1:
            return make()
        parcel: list[Any] = [None]  # what stays so if process 0 fails
        try:
            if self.rank == 0:
                parcel = [(make(),)]
        finally:
            with _words():
                _torch.broadcast_object_list(parcel, src=0)
        if parcel[0] is None:
            raise PeerLost("process 0 could not begin, and says why")
        return parcel[0][0]

    def require_same(self, what: Mapping[str, Any]) -> None:
        """Refuse processes that differ in what all must have alike.

        Raises:
            ValueError: names what differs, with everybody's values; in all processes.
        """
        everybody: list[Any] = [None] * self.size
        with _words():
            _torch.all_gather_object(everybody, dict(what))
        for name in what:
            values = [there.get(name) for there in everybody]
            if any(value != values[0] for value in values):
                raise ValueError(
                    f"the {self.size} processes must agree, but have {name} = "
                    f"{', '.join(map(str, dict.fromkeys(map(str, values))))}; give all machines "
                    "the same command, versions and kind of processor"
                )

    def require_work(self, num_tasks: int) -> None:
        """Refuse more processes than tasks.

        Raises:
            ValueError: names both.
        """
        if num_tasks < self.size:
            raise ValueError(
                f"{self.size} processes cannot share {num_tasks} tasks an iteration: each needs "
                f"one at least; start at most {num_tasks} (torchrun --nproc-per-node), or ask for "
                "more tasks"
            )

    def _add(self, flat: Tensor) -> None:
        with _words():
            _torch.all_reduce(flat)


ALONE = Group()
"""One process that has all tasks."""


@contextlib.contextmanager
def _words() -> Generator[None, None, None]:
    """Say in words what torch says of a connection that ends."""
    try:
        yield
    except RuntimeError as error:
        raise PeerLost(
            "another process of this job ended, and none can go on without the others; what was "
            f"written stays (train: --resume goes on after the last iteration). torch says: {error}"
        ) from error


def rank_of_process() -> int:
    """Return the number that torchrun gave to this process; 0 where it gave none."""
    return int(os.environ["RANK"]) if "TORCHELASTIC_RUN_ID" in os.environ else 0


@contextlib.contextmanager
def joined() -> Generator[Group, None, None]:
    """Join the processes that torchrun started; yields :data:`ALONE` where it started no other.

    Process i of a machine takes its GPU i. NCCL connects GPUs, Gloo processors, and processes that
    share a GPU.

    Raises:
        PeerLost: another process ended; says why, if that one did.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        _end_with_torchrun()
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        yield ALONE
        return
    store, rank, size = next(_torch.rendezvous("env://", timeout=TIMEOUT))
    here, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % gpus)
    backend = "cpu:gloo,cuda:nccl" if here <= gpus else "gloo"
    _torch.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    try:
        with warnings.catch_warnings():
            if rank:
                warnings.simplefilter("ignore")  # process 0 has the same ones
            _look_at_cores(here)
            yield Group(rank, size, here)
    except BaseException as error:
        _tell(store, rank, error)
        raise
    _torch.destroy_process_group()


def _look_at_cores(here: int) -> None:
    share, threads = (os.cpu_count() or 1) // here, torch.get_num_threads()
    if threads < share:  # torchrun says 1 where nobody says more
        warnings.warn(
            f"each of the {here} processes here computes on {threads} of {os.cpu_count()} "
            f"processors; OMP_NUM_THREADS={share} before torchrun gives each its share",
            stacklevel=4,
        )


def _tell(store: Any, rank: int, error: BaseException) -> None:
    """Leave word of why this process ends; in process 0, that of another which ended first.

    Raises:
        PeerLost: another process left word.
    """
    ended_by_another = isinstance(stop_behind(error), PeerLost | KeyboardInterrupt)
    store.set_timeout(timedelta(seconds=10))  # the store's own machine may be gone
    said = b""
    with contextlib.suppress(RuntimeError):
        if rank and not ended_by_another:
            store.set(SAID, f"process {rank} ended: {error}")
        elif rank == 0 and ended_by_another and store.check([SAID]):
            said = store.get(SAID)
    if said:
        raise PeerLost(said.decode()) from error


def _end_with_torchrun() -> None:
    """Let Linux end this process when torchrun dies, which then can end nobody."""
    cast("Any", multiprocessing)._prctl_pr_set_pdeathsig(signal.SIGTERM)
