"""The results of a run on the disk, whole from its start and again after each lesson."""

import json
import threading
from collections.abc import Sequence
from pathlib import Path

from bomrl_lite.course.execute import Outcome
from bomrl_lite.course.running.history import (
    METRICS,
    earlier_runs,
    from_metrics,
    history_of,
    to_json,
)
from bomrl_lite.course.running.report import write_report
from bomrl_lite.course.running.results import Lesson, Ranges, Run, judge, to_junit, to_metrics
from bomrl_lite.training.files import write_atomically


class Ledger:
    """What has come of a run so far; a kill loses only the lessons that were running."""

    def __init__(
        self,
        folder: Path,
        run: Run,
        outcomes: Sequence[Outcome],
        ranges: Ranges,
    ) -> None:
        """Begin with an outcome of every lesson; those that have yet to run say ``not run``.

        Args:
            folder: of the results; it is there.
            run: without its lessons.
            outcomes: in the order of the report.
            ranges: of all profiles.
        """
        self.folder, self.ranges = folder, ranges
        self.earlier = earlier_runs(folder.resolve(), run)
        self.profile = run.profile
        self.run = run._replace(lessons=[self._judge(outcome) for outcome in outcomes])
        self.lock = threading.Lock()
        self._write()

    def add(self, outcome: Outcome) -> None:
        """Enter the outcome of a lesson that has ended; may be called from any thread."""
        judged = self._judge(outcome)
        with self.lock:
            lessons = [
                judged if each.outcome.name == outcome.name else each for each in self.run.lessons
            ]
            self.run = self.run._replace(lessons=lessons)
            self._write()

    def _judge(self, outcome: Outcome) -> Lesson:
        return judge(outcome, self.ranges.get(outcome.name, {}).get(self.profile, {}))

    def _write(self) -> None:
        for each in self.run.lessons:
            write_atomically(self.folder / f"{each.outcome.name}.log", each.outcome.log.encode())
        metrics = to_metrics(self.run)
        self.history = history_of(self.earlier, from_metrics(self.folder.name, metrics))
        text = json.dumps(
            {**metrics, "history": to_json(self.history)}, indent=1, ensure_ascii=False
        )
        write_atomically(self.folder / METRICS, f"{text}\n".encode())
        write_atomically(self.folder / "junit.xml", to_junit(self.run))
        write_report(self.folder / "report.html", self.run, self.history)
