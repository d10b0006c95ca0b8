"""How long nobody acts when the leading replica goes: killed, and asked to stop.

It is seen from outside: an abort that is created at that very moment changes its route so much later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count

from benchmarks.registry.actions import bring_to_pause, wait_for_phase
from benchmarks.registry.stage import Stage, wait_for
from benchmarks.registry.traffic_watch import TrafficWatch
from tests.registry.cluster.controller_process import ControllerProcess

_TAKES_OVER_SECONDS = 60.0


def run(where: Stage, times: int, say: Callable[[str], None]) -> dict[str, float]:
    """Return the longest of so many fail-overs of each kind, in seconds."""
    names = [f"fail-{number}" for number in range(2 * times)]
    where.models.register(names, ("20260101000000", "20260102000000"))
    identities = (f"replica-{number}" for number in count())
    leading = _started(where, identities)
    waiting = _started(where, identities)
    try:
        bring_to_pause(where, names)
        found: dict[bool, list[float]] = {True: [], False: []}
        with TrafficWatch(where.client, where.namespace).listening() as traffic:
            for position, name in enumerate(names):
                kills = position < times
                found[kills].append(_without_leader(where, leading, waiting, traffic, name, kills=kills))
                say(f"{'SIGKILL' if kills else 'SIGTERM'}: acted after {found[kills][-1]:.2f} s")
                leading, waiting = waiting, _started(where, identities)
        return {"registry_failover_kill_s": max(found[True]), "registry_failover_stop_s": max(found[False])}
    finally:
        leading.kill()
        waiting.kill()


def _started(where: Stage, identities: Iterator[str]) -> ControllerProcess:
    controller = where.controller(next(identities))
    controller.start()
    wait_for(where.leader, "a leader", _TAKES_OVER_SECONDS)
    return controller


def _without_leader(
    where: Stage,
    leading: ControllerProcess,
    waiting: ControllerProcess,
    traffic: TrafficWatch,
    name: str,
    *,
    kills: bool,
) -> float:
    """End the leader; return after how many seconds the other has the lease and an abort has changed its route."""
    wait_for_phase(where, [name], "Paused")
    began = time.perf_counter()
    (leading.kill if kills else leading.ask_to_stop)()
    where.act("Abort", name)
    acted = traffic.changed_at(name, began, _TAKES_OVER_SECONDS) - began
    wait_for(lambda: where.leader() == waiting.identity, "the other replica's lead", _TAKES_OVER_SECONDS, pause=0.01)
    took_over = time.perf_counter() - began
    if not kills:
        leading.stop()
    return max(acted, took_over)
