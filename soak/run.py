"""One run from start to end: the server and what it needs, the load, and what was seen."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.traces import traces_sink
from soak.errors import ServerGone
from soak.http_kinds import BURST, LIMIT_PER_SECOND
from soak.load import Amounts, Load
from soak.outcome import Greed, Outcome
from soak.prediction_table import kept_small
from soak.process_watch import Held, ProcessWatch
from soak.server import PREDICTOR, Server, running, settings_of
from soak.subject import make_subject
from soak.tally import Tally

_GREEDY = "/score, greedy"
_SAMPLES = 400
_SETTLING_SECONDS = 2.0
_WRITING_SECONDS = 60.0
Progress = Callable[[int, int], None]


def run(
    requests: int,
    database_url: str,
    *,
    command: Sequence[str] = PREDICTOR,
    strangers: int | None = None,
    seed: int = 0,
    progress: Progress = lambda _requests, _rss: None,
) -> Outcome:
    """Load a predictor with so many requests.

    Args:
        requests: how many, beside those that warm it up.
        database_url: a PostgreSQL with the newest schema, whose predictions are emptied now and then.
        command: what starts the predictor.
        strangers: requests of the warm-up that fill caches with names; None for more than fit in.
        seed: of what is random.
        progress: is told the number of answered requests and the resident memory in bytes, a few hundred times.

    """
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, traces_sink() as traces:
        subject = make_subject(Path(folder))
        settings = settings_of(subject, database_url, traces.url)
        with running(settings, command=command) as server, kept_small(database_url):
            soaking = _Soaking(server, requests, progress, seed)
            soaking.warm_up(strangers)
            soaking.soak()
            soaking.count()
        return soaking.outcome()


class _Soaking:
    """The parts of a run, in the order in which they come."""

    def __init__(self, server: Server, requests: int, progress: Progress, seed: int) -> None:
        self._server = server
        self._requests = requests
        self._progress = progress
        self._watch = ProcessWatch(server.process.pid)
        self._load = Load(server, seed=seed)
        self._warm, self._tally = Tally(), Tally(self._note, step=max(1, requests // _SAMPLES))
        self._seconds = 0.0
        self._before = self._after = Held(0, 0)
        self._noted_rows = 0
        self._counted: Counter[int] = Counter()
        self._expected_metric: Counter[int] = Counter()

    def warm_up(self, strangers: int | None) -> None:
        """Bring the server to where it stays: threads started, caches full."""
        self._load.warm_up(self._warm, **({} if strangers is None else {"strangers": strangers}))
        time.sleep(_SETTLING_SECONDS)
        self._before = self._watch.held()

    def soak(self) -> None:
        """Send the run's requests; that the server has gone is for the outcome to tell, with the log's last words."""
        started = time.monotonic()
        try:
            self._load.run(Amounts.of(self._requests), self._tally)
        except ServerGone as gone:
            self._tally.note_fault(str(gone))
        self._seconds = time.monotonic() - started
        self._after = self._watch.held_when(lambda held: held == self._before or not held.threads)

    def count(self) -> None:
        """Ask the server what it has counted, when it has written all predictions."""
        deadline = time.monotonic() + _WRITING_SECONDS
        while True:
            asked = self._server.asked.copy()
            metrics = self._server.scrape()
            if not metrics.get(("telltale_prediction_log_queue_length",)) or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        self._expected_metric = self._expected_log() + asked
        for (name, *labels), value in metrics.items():
            if name == "telltale_http_requests_total":
                self._counted[int(labels[-1])] += int(value)
            elif name in ("telltale_prediction_log_written_total", "telltale_prediction_log_dropped_total"):
                self._noted_rows += int(value)

    def outcome(self) -> Outcome:
        """Return what was seen; the server has ended."""
        server, tally, log = self._server, self._tally, self._server.log
        greedy = tally.by_kind[_GREEDY]
        return Outcome(
            requests=self._requests,
            seconds=self._seconds,
            by_kind=tally.by_kind,
            wrong=tally.wrong + self._warm.wrong,
            samples=self._watch.samples,
            before=self._before,
            after=self._after,
            expected_log=self._expected_log() + server.asked,
            logged=log.access,
            log_lines=log.lines,
            log_dropped=log.dropped,
            log_faults=log.faults,
            log_examples=log.examples,
            expected_metric=self._expected_metric,
            counted=self._counted,
            expected_rows=tally.rows + self._warm.rows,
            noted_rows=self._noted_rows,
            greed=Greed(greedy - tally.limited, tally.limited, BURST + LIMIT_PER_SECOND * self._seconds),
            exit_status=server.exit_status,
        )

    def _expected_log(self) -> Counter[int]:
        return self._tally.logged + self._warm.logged

    def _note(self, requests: int) -> None:
        self._watch.sample(requests)
        self._progress(requests, self._watch.samples[-1].rss)
