"""A thousand ServedModels: brought up, left alone, moved all at once, and found again by a controller that starts anew.

A fifth of them (`moved`) get another version at once, which is the storm; a quarter of those (`undone`) are then
undone at once. Each tenth (`held`) waits at a tenth of its traffic, and is aborted while the storm goes on: that is
when people abort. KServe's controller makes all that a ServedModel stands on, and is the slowest part of bringing them
up.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from benchmarks.cores import cpu_seconds, rss_mb
from benchmarks.registry.actions import timed_action, wait_for_phase
from benchmarks.registry.audit import AuditLog
from benchmarks.registry.exposition import Exposition, between, parsed, writes
from benchmarks.registry.samples import percentile, said
from benchmarks.registry.stage import Stage, served_model, wait_for
from benchmarks.registry.traffic_watch import TrafficWatch
from registry.kubernetes.resources import SERVED_MODELS

IDLE_SECONDS = 150.0  # at least one list of everything, which comes every 60 s, and looks that are due by time
_CREATORS = 8
_SIZES = (10, 100, 1000)
_LONGEST_SECONDS = 7200.0
_SETTLE_SECONDS, _RELIST_SECONDS = 20.0, 65.0
# Between two aborts, as several people would.
_PAUSE_SECONDS = 0.2

Say = Callable[[str], None]


class Crowd:
    """So many ServedModels, and one controller.

    Args:
        where: the stage.
        count: how many; at least 10.

    """

    def __init__(self, where: Stage, count: int) -> None:
        self.where, self.audit = where, AuditLog()
        names = [f"m{number:04}" for number in range(count)]
        self.held, rest = names[9::10], [name for position, name in enumerate(names) if position % 10 != 9]
        self.names, self.moved = names, rest[: count // 5]
        self.undone = self.moved[: max(count // 20, 1)]
        self.controller = where.controller("crowd")

    def metrics(self) -> Exposition:
        """Return what the controller has counted."""
        return parsed(self.controller.ask("/metrics"))

    def create(self, names: Sequence[str]) -> None:
        """Create ServedModels."""
        held = set(self.held)

        def create(name: str) -> None:
            self.where.create(SERVED_MODELS, name, served_model(name, pause=name in held))

        with ThreadPoolExecutor(_CREATORS) as executor:
            list(executor.map(create, names))

    def act(self, action: str, names: Sequence[str]) -> None:
        """Create a RolloutAction for each, at once."""
        with ThreadPoolExecutor(_CREATORS) as executor:
            list(executor.map(partial(self.where.act, action), names))

    def wait_until_at_rest(self, say: Say) -> None:
        """Wait until each serves, or waits for a person."""
        told = time.monotonic()

        def is_at_rest() -> bool:
            nonlocal told
            phases = Counter(self.where.phases().values())
            if time.monotonic() > told + 60:
                told = time.monotonic()
                say(", ".join(f"{number} {phase or 'new'}" for phase, number in phases.most_common()))
            return set(phases) <= {"Healthy", "Paused", "Rejected"}

        wait_for(is_at_rest, "rest", _LONGEST_SECONDS, pause=1.0)

    @contextmanager
    def written(self) -> Iterator[Counter[str]]:
        """Yield what is filled at the end with the controller's writes meanwhile; it is the same process throughout."""
        found: Counter[str] = Counter()
        position, before = self.audit.position(), self.metrics()
        yield found
        counted = writes(between(before, self.metrics()))
        if position is not None:
            # What the API server does not record (Leases and Events may be left out) is taken from the controller.
            recorded = self.audit.writes(self.where.account, position)
            counted = Counter({call: n for call, n in counted.items() if call.split()[1] in ("leases", "events")})
            found.update({call: number for call, number in recorded.items() if call.split()[1] != "leases"})
        found.update(counted)


def run(where: Stage, count: int, say: Say, idle_seconds: float = IDLE_SECONDS) -> dict[str, float]:
    """Return all figures of a crowd of ``count``."""
    crowd = Crowd(where, count)
    crowd.where.models.register(crowd.names, ("20260101000000", "20260102000000"))
    crowd.controller.start()
    try:
        figures = {"registry_crowd": float(count)}
        figures |= bring_up(crowd, say)
        figures |= leave_alone(crowd, idle_seconds, say)
        figures |= storm(crowd, say)
        figures |= undo_burst(crowd, say)
        figures |= start_anew(crowd, say)
    finally:
        crowd.controller.kill()
    return figures


def bring_up(crowd: Crowd, say: Say) -> dict[str, float]:
    """Create everything, 10 and 100 first, to see what memory follows."""
    figures: dict[str, float] = {}
    began, made = time.monotonic(), 0
    for size in (*(size for size in _SIZES if size < len(crowd.names)), len(crowd.names)):
        crowd.create(crowd.names[made:size])
        made = size
        crowd.wait_until_at_rest(say)
        figures[f"registry_rss_{size}_mb"] = rss_mb(crowd.controller.pid)
        say(f"{size} after {time.monotonic() - began:.0f} s; {figures[f'registry_rss_{size}_mb']:.0f} MB")
    crowd.act("Promote", crowd.held)
    wait_for_phase(crowd.where, crowd.names, "Healthy", _LONGEST_SECONDS)
    seconds = time.monotonic() - began
    say(f"all Healthy after {seconds:.0f} s")
    return figures | {"registry_bring_up_s": seconds, "registry_bring_up_per_s": len(crowd.names) / seconds}


def leave_alone(crowd: Crowd, seconds: float, say: Say) -> dict[str, float]:
    """Count what the controller does where nothing is to be done."""
    wait_until_quiet(crowd)
    time.sleep(_RELIST_SECONDS)  # the next list still finds what changed before
    before, cpu, began = crowd.metrics(), cpu_seconds(crowd.controller.pid), time.monotonic()
    with crowd.written() as found:
        time.sleep(seconds)  # nothing is to happen
    took = time.monotonic() - began
    cpu, calls = cpu_seconds(crowd.controller.pid) - cpu, between(before, crowd.metrics())
    leases = found.pop("replace leases", 0)
    say(f"idle for {took:.0f} s: writes {dict(found)}, {leases} renewals of the Lease, {cpu:.1f} s of processor time")
    by_call = calls.by("api_calls_total", "verb", "resource").most_common(12)
    say(", ".join(f"{call} {number / took:.2f}/s" for call, number in by_call))
    return {
        "registry_idle_writes": float(found.total()),
        "registry_idle_lease_writes_per_min": leases / took * 60,
        "registry_idle_calls_per_s": calls.total("api_calls_total") / took,
        "registry_idle_cpu_s_per_min": cpu / took * 60,
        "registry_idle_looks_per_min": calls.total("reconcile_seconds_count") / took * 60,
    }


def wait_until_quiet(crowd: Crowd) -> None:
    """Wait until nothing has been written for a while."""

    def is_quiet() -> bool:
        before = crowd.metrics()
        time.sleep(_SETTLE_SECONDS)
        written = writes(between(before, crowd.metrics()))
        return set(written) <= {"replace leases"}

    wait_for(is_quiet, "quiet", 1200, pause=0.0)


def storm(crowd: Crowd, say: Say) -> dict[str, float]:
    """Move the alias of a fifth at once, and abort others meanwhile."""
    crowd.where.models.promote(crowd.held, 2)
    wait_for_phase(crowd.where, crowd.held, "Paused", _LONGEST_SECONDS)
    before, cpu, began = crowd.metrics(), cpu_seconds(crowd.controller.pid), time.monotonic()
    with TrafficWatch(crowd.where.client, crowd.where.namespace).listening() as traffic:
        crowd.where.models.promote(crowd.moved, 2)
        wait_for(lambda: _under_way(crowd) or None, "the first of the storm", 120)
        samples = list(_aborts(crowd, traffic))
    _wait_until_moved(crowd)
    took = time.monotonic() - began
    counted, cpu = between(before, crowd.metrics()), cpu_seconds(crowd.controller.pid) - cpu
    rollouts = len(crowd.moved) + len(samples)
    p99 = counted.quantile("reconcile_seconds", 0.99, result="done")
    looks = counted.total("reconcile_seconds_count")
    say(f"{len(crowd.moved)} moved in {took:.0f} s by {looks:.0f} looks, p99 {p99:.2f} s")
    say(f"aborts meanwhile: {said(samples)}")
    say(str(counted.by("api_calls_total", "verb", "resource").most_common(20)))
    return {
        "registry_storm_s": took,
        "registry_storm_reconcile_p50_s": counted.quantile("reconcile_seconds", 0.5, result="done"),
        "registry_storm_reconcile_p99_s": p99,
        "registry_storm_looks_per_rollout": looks / rollouts,
        "registry_storm_calls_per_rollout": counted.total("api_calls_total") / rollouts,
        "registry_storm_cpu_s_per_rollout": cpu / rollouts,
        "registry_storm_action_p50_ms": percentile(samples, 0.5) * 1e3,
        "registry_storm_action_p99_ms": percentile(samples, 0.99) * 1e3,
        "registry_storm_action_samples": float(len(samples)),
    }


def _under_way(crowd: Crowd) -> int:
    """Return how many of those that were moved are on their way."""
    phases = crowd.where.phases()
    return sum(phases[name] not in ("Healthy", "Rejected") for name in crowd.moved)


def _wait_until_moved(crowd: Crowd) -> None:
    def have_moved() -> bool:
        found = {one["metadata"]["name"]: one for one in crowd.where.api.list(SERVED_MODELS, crowd.where.namespace)}
        return all(_serves(found[name], "2") for name in crowd.moved)

    wait_for(have_moved, "the end of the storm", _LONGEST_SECONDS, pause=1.0)


def _serves(served_model: dict[str, object], number: str) -> bool:
    status = served_model.get("status")
    resolved = status.get("resolved") if isinstance(status, dict) else None
    return (
        isinstance(status, dict)
        and isinstance(resolved, dict)
        and (status.get("phase") == "Healthy" and resolved.get("mlflowVersion") == number)
    )


def _aborts(crowd: Crowd, traffic: TrafficWatch) -> Iterator[float]:
    """Abort one after another, for as long as the storm goes on."""
    for name in crowd.held:
        yield timed_action(crowd.where, traffic, "Abort", name)
        if not _under_way(crowd):
            return
        time.sleep(_PAUSE_SECONDS)


def undo_burst(crowd: Crowd, say: Say) -> dict[str, float]:
    """Undo many at once."""
    wait_until_quiet(crowd)
    watch = TrafficWatch(crowd.where.client, crowd.where.namespace)
    with watch.listening() as traffic, ThreadPoolExecutor(len(crowd.undone)) as executor:
        samples = list(executor.map(partial(timed_action, crowd.where, traffic, "Undo"), crowd.undone))
    say(f"{len(samples)} undone at once: {said(samples)}")
    return {
        "registry_undo_burst_p50_ms": percentile(samples, 0.5) * 1e3,
        "registry_undo_burst_p99_ms": percentile(samples, 0.99) * 1e3,
    }


def start_anew(crowd: Crowd, say: Say) -> dict[str, float]:
    """Stop the controller, and start another that knows nothing."""
    wait_until_quiet(crowd)
    crowd.controller.stop()
    position, began = crowd.audit.position(), time.monotonic()
    crowd.controller.start()
    served = time.monotonic() - began
    first = _when(lambda: crowd.metrics().total("reconcile_seconds_count") > 0, began)
    every = _when(lambda: crowd.metrics().total("phase") >= len(crowd.names), began)
    wait_until_quiet(crowd)
    found = writes(crowd.metrics())
    leases = found.pop("replace leases", 0) + found.pop("create leases", 0)
    if position is not None:
        found = crowd.audit.writes(crowd.where.account, position) + Counter({"events": found["create events"]})
    say(
        f"started anew: serves its health after {served:.1f} s, first look {first:.1f} s, all {every:.1f} s;"
        f" writes {dict(+found)}, and the Lease {leases} times; {rss_mb(crowd.controller.pid):.0f} MB"
    )
    return {
        "registry_restart_first_look_s": first,
        "registry_restart_all_looked_s": every,
        "registry_restart_writes": float((+found).total()),
        "registry_restart_rss_mb": rss_mb(crowd.controller.pid),
    }


def _when(condition: Callable[[], bool], began: float) -> float:
    wait_for(condition, "the controller's looks", _LONGEST_SECONDS, pause=0.1)
    return time.monotonic() - began
