"""A whole run: which targets there are, what each gets of the time, and what is started for it.

The server is met in two ways: pinned to a version and asking for tokens, as a pod of a revision, and following
PostgreSQL and open to all, as `make run` starts it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fuzz import grpc_target, guided, http_bodies, http_heads, sanitized, schema
from fuzz.collector import collector
from fuzz.predictor_process import PredictorProcess, database, passable_folder, settings_of
from fuzz.report import Report
from fuzz.subject import Subject, make_subject
from fuzz.tally import Tally
from store.postgres import Postgres
from store.serving import ServedVersions

_SERVERS_SHARES = {schema.NAME: 0.2, http_bodies.NAME: 0.2, http_heads.NAME: 0.15, grpc_target.NAME: 0.1}
_GUIDED_SHARE = 0.35


@dataclass(frozen=True)
class Mode:
    """A way to run the server."""

    name: str
    authenticates: bool
    is_pinned: bool


MODES = (Mode("tokens", authenticates=True, is_pinned=True), Mode("open", authenticates=False, is_pinned=False))


@dataclass(frozen=True)
class Target:
    """What is fuzzed.

    Args:
        name: the kind, and the mode where there is a server.
        kind: what does it.
        mode: how the server is run; None where there is none.
        share: its part of the time.

    """

    name: str
    kind: str
    mode: Mode | None
    share: float


TARGETS = tuple(
    Target(f"{kind}-{mode.name}", kind, mode, share / len(MODES))
    for mode in MODES
    for kind, share in _SERVERS_SHARES.items()
) + tuple(Target(name, name, None, share * _GUIDED_SHARE) for name, share in guided.SHARES.items())


@dataclass(frozen=True)
class Plan:
    """What is to be done: targets, how many seconds in all, and the seed that all chance comes from."""

    targets: Sequence[Target]
    seconds: float
    seed: int

    def seconds_of(self, target: Target) -> float:
        """Return a target's part of the time."""
        return self.seconds * target.share / sum(target.share for target in self.targets)


def run(plan: Plan, report: Report) -> list[Tally]:
    """Fuzz every target and return what came of each."""
    tallies = []
    with passable_folder("telltale-fuzz-") as folder:
        for mode in MODES:
            targets = [target for target in plan.targets if target.mode is mode]
            if targets:
                tallies += _served(mode, targets, plan, folder / mode.name, report)
        targets = [target for target in plan.targets if target.mode is None]
        if targets:
            tallies += _guided(targets, plan, folder, report)
    return tallies


@contextmanager
def serving(mode: Mode, folder: Path, *, seed: int) -> Iterator[tuple[PredictorProcess, Subject]]:
    """Run a server in ``folder``, which is made, with all that belongs to it."""
    folder.mkdir(mode=0o711)
    # A model without default is not ready, which is said with 503: there is none, so that no answer may be of 5xx.
    subject = make_subject(folder / "objects", seed, with_vans=not mode.is_pinned)
    with database(folder) as url, collector() as collector_url:
        if not mode.is_pinned:
            _serve_by_default(subject, url)
        settings = settings_of(
            subject, url, authenticates=mode.authenticates, is_pinned=mode.is_pinned, collector_url=collector_url
        )
        server = PredictorProcess(settings, folder / "log")
        try:
            server.start()
            yield server, subject
        finally:
            server.stop()


def _serve_by_default(subject: Subject, url: str) -> None:
    postgres = Postgres(url)
    postgres.open()
    try:
        served = ServedVersions(postgres)
        newest = {one.model: one for one in reversed(subject.versions)}
        for one in newest.values():
            served.serve(one.model, one.version, one.digest)
    finally:
        postgres.close()


def _served(mode: Mode, targets: Sequence[Target], plan: Plan, folder: Path, report: Report) -> list[Tally]:
    """Fuzz the targets of one mode, and end the server in order."""
    tallies = []
    with serving(mode, folder, seed=plan.seed) as (server, subject):
        for target in targets:
            seconds = plan.seconds_of(target)
            report.say(f"{target.name}, {seconds:.0f} s")
            tallies.append(_tally(target, server, subject, seconds=seconds, plan=plan, report=report))
            report.ended(tallies[-1])
        status = server.stop()
        if status != 0:
            tallies[-1].find(f"the server ends with status {status}", server.last_words(), b"")
        for kind, example in server.log_faults().items():
            tallies[-1].find(f"in the log of the end: {kind}", example, b"")
    return tallies


def _tally(
    target: Target, server: PredictorProcess, subject: Subject, *, seconds: float, plan: Plan, report: Report
) -> Tally:
    seed, progress, name = plan.seed, report.progress, target.name
    if target.kind == schema.NAME:
        folder = subject.store.with_name(target.name)
        folder.mkdir()
        return schema.run(server, folder, seconds=seconds, seed=seed, progress=progress, name=name)
    if target.kind == http_heads.NAME:
        return http_heads.run(server, seconds=seconds, seed=seed, progress=progress, name=name)
    run_one = http_bodies.run if target.kind == http_bodies.NAME else grpc_target.run
    return run_one(server, subject, seconds=seconds, seed=seed, progress=progress, name=name)


def _guided(targets: Sequence[Target], plan: Plan, folder: Path, report: Report) -> list[Tally]:
    tallies = []
    kernel = _sanitized_kernel(folder, report)
    for target in targets:
        seconds = plan.seconds_of(target)
        report.say(f"{target.name}, {seconds:.0f} s")
        own = folder / target.name
        own.mkdir()
        tallies.append(
            guided.run(target.kind, own, seconds=seconds, seed=plan.seed, progress=report.progress, kernel=kernel)
        )
        report.ended(tallies[-1])
    return tallies


def _sanitized_kernel(folder: Path, report: Report) -> sanitized.SanitizedKernel | None:
    try:
        return sanitized.build(folder)
    except sanitized.NotBuilt as lack:
        report.say(f"the kernel is not tried with sanitizers: {lack}")
        return None
