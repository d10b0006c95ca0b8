"""One replica as a process of its own: real limiter, real leases, and requests at given rates.

``python -m tests.predictor.security.replica_process`` reads a JSON object from standard input: ``url`` of the database,
``rate`` and ``burst``, ``start`` and ``seconds`` of the traffic (wall clock), and for each of ``subjects`` a list of
[second, requests a second from then on]. It prints the seconds at which requests were admitted, by subject.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from predictor.hotpath.late import Late
from predictor.security.quota_leases import QuotaLeases
from predictor.security.rate_limiter import LimiterConfig, RateLimiter
from predictor.security.rate_policy import RatePolicy
from store.postgres import Postgres
from store.postgres_quotas import PostgresQuotas
from store.quotas import QuotaSource
from tests.predictor.security.recorded_events import RecordedEvents

_STEP = 0.005


async def run(order: dict[str, Any]) -> dict[str, Any]:
    postgres = Postgres(order["url"], max_connections=1, wait_seconds=0.5)
    postgres.open()
    limiter = RateLimiter(RatePolicy(order["rate"], order["burst"]), LimiterConfig(replicas=2))
    events = RecordedEvents()
    quotas: Late[QuotaSource] = Late()
    quotas.set(PostgresQuotas(postgres))
    leases = QuotaLeases(limiter, quotas, events=events)
    leases.start()
    admitted: dict[str, list[float]] = {subject: [] for subject in order["subjects"]}
    due = dict.fromkeys(admitted, 0.0)
    zero = time.monotonic() + order["start"] - time.time()
    last = 0.0
    while last < order["seconds"]:
        await asyncio.sleep(_STEP)
        now = max(0.0, time.monotonic() - zero)
        for subject, steps in order["subjects"].items():
            due[subject] += (now - last) * next(rate for since, rate in reversed(steps) if since <= now)
            while due[subject] >= 1:
                due[subject] -= 1
                if limiter.admit(subject, time.monotonic()).admitted:
                    admitted[subject].append(round(now, 3))
        last = now
    await leases.stop()
    postgres.close()
    return {"admitted": admitted, "alone": events.alone, "leases": len(events.leases)}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(json.load(sys.stdin)))))  # noqa: T201 - what the test reads
