"""Processes that judge side by side, each with one judge of its own.

They write nothing: what they find goes back through a pipe, so that a kill of the grader, which
closes the pipes, ends them too.
"""

import contextlib
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import NamedTuple

import torch

from bomrl_lite.course.classroom.judge import Judge, Verdict
from bomrl_lite.course.classroom.sent_files import Bounds, Unreadable, read_bytes
from bomrl_lite.course.classroom.sent_notebook import read_notebook
from bomrl_lite.course.classroom.submissions import Submission, fingerprint

_PATIENCE = 5.0  # seconds that a process gets to put its judge away


class Marks(NamedTuple):
    """What came of one student's submission."""

    student: str
    id: str
    late: bool
    file: str
    """The one that counts; empty if none could be read."""
    verdicts: tuple[Verdict, ...]
    """Of every exercise, in order; none if no file could be read."""
    note: str
    """Which files were passed over and why; empty if there is one file, and it counts."""
    fingerprint: str
    final: bool = True
    """False where the grader failed, not the student."""


class Task(NamedTuple):
    """What every process is told at its start."""

    make_judge: Callable[[], Judge]
    exercise_set: str
    bounds: Bounds


def judge_submission(judge: Judge, submission: Submission, task: Task) -> Marks:
    """Judge the last attempt that holds a function of the set; say what was passed over.

    Without one, the last attempt that can be read is judged, and without that one, none.
    """
    passed_over, kept = list[str](), None
    files = list(submission.files)
    while files:
        found = files.pop(0)
        try:
            notebook = read_notebook(read_bytes(found, task.bounds))
        except Unreadable as problem:
            passed_over.append(f"{found.name}: {problem}")
            continue
        verdicts = tuple(judge.judge(notebook, task.exercise_set))
        if any(verdict.status != "missing" for verdict in verdicts):
            kept = (found.name, verdicts)
            break
        passed_over.append(f"{found.name}: it holds no function of set {task.exercise_set}")
        kept = kept or (found.name, verdicts)
    name, verdicts = kept or ("", ())
    note = "; ".join(passed_over)
    if kept and len(submission.files) > 1:
        rest = ", ".join(found.name for found in files)
        earlier = f"earlier, or no notebook: {rest}" if rest else ""
        note = "; ".join(filter(None, (f"{name} counts", note, earlier)))
    return Marks(
        *submission[:3], name, verdicts, note, fingerprint(submission, task.bounds)
    )  # fmt: skip


def judge_all(
    submissions: Sequence[Submission],
    task: Task,
    jobs: int,
    *,
    on_ready: Callable[[str], None],
    on_begin: Callable[[Submission], None],
    on_end: Callable[[Marks], None],
) -> None:
    """Judge submissions side by side, in their order; ends all processes, whatever happens.

    Args:
        submissions: of different students.
        task: what to judge them by.
        jobs: number of processes.
        on_ready: gets what the first judge says of its isolation.
        on_begin: gets a submission when its turn comes.
        on_end: gets its marks.

    Raises:
        ChildProcessError: a process ended before it could begin.
        Exception: whatever making a judge raised in a process.
    """
    waiting, workers, said = deque(submissions), list[_Worker](), False
    try:
        workers += [_Worker(task) for _ in range(min(jobs, len(waiting)))]
        while workers:
            for connection in wait([worker.connection for worker in workers], timeout=1):
                worker = next(each for each in workers if each.connection is connection)
                answer = worker.answer()
                if isinstance(answer, str) and not said:
                    on_ready(answer)
                    said = True
                elif isinstance(answer, Marks):
                    on_end(answer)
                if not worker.alive:
                    worker.stop()
                    workers.remove(worker)
                    workers += [_Worker(task)] if waiting else []
                elif waiting:
                    on_begin(waiting[0])
                    worker.give(waiting.popleft())
                else:
                    worker.stop()
                    workers.remove(worker)
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.stop()


class _Worker:
    """A process, the pipe to it, and what it is at."""

    def __init__(self, task: Task) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, task))
        with _ctrl_c_ignored():
            self.process.start()
        theirs.close()  # or the end of the process would not close the pipe
        self.given: Submission | None = None
        self.alive = True

    def give(self, submission: Submission) -> None:
        """Hand over a submission; a process that has just died is found out by its answer."""
        self.given = submission
        with contextlib.suppress(OSError):
            self.connection.send(submission)

    def answer(self) -> str | Marks:
        """Return what the process says: what its judge is kept from, then marks."""
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(_PATIENCE)
            self.alive, code = False, self.process.exitcode
            if self.given is None:
                raise ChildProcessError(
                    f"a process that judges ended before it began (exit code {code})"
                ) from None
            return _failed(self.given, f"its process ended (exit code {code}); too little memory?")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stop(self) -> None:
        """Let the process end, which it does when the pipe is closed."""
        self.connection.close()
        self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _failed(submission: Submission, reason: str) -> Marks:
    note = f"the grader failed, not the student: {reason}; repeat the command with --resume"
    return Marks(*submission[:3], "", (), note, "", final=False)


def _work(connection: Connection, task: Task) -> None:
    """Judge what comes through the pipe until it is closed."""
    signal.signal(signal.SIGTERM, _end)
    torch.set_num_threads(1)  # equal bits, whatever the number of jobs
    try:
        with task.make_judge() as judge:
            connection.send(judge.isolation)
            _serve(connection, judge, task)
    except Exception as error:
        with contextlib.suppress(OSError):
            connection.send(error)


def _end(number: int, frame: FrameType | None) -> None:
    """End in the usual way, so that the judge is put away, and only once."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


def _serve(connection: Connection, judge: Judge, task: Task) -> None:
    while True:
        try:
            submission = connection.recv()
        except (EOFError, OSError):
            return
        try:
            marks = judge_submission(judge, submission, task)
        except Exception as error:  # a fault of ours, which must not stop the others
            marks = _failed(submission, f"{type(error).__name__}: {error}")
        connection.send(marks)


@contextlib.contextmanager
def _ctrl_c_ignored() -> Generator[None, None, None]:
    """Start a process that ignores Ctrl-C, from its first moment: it is for the grader."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
