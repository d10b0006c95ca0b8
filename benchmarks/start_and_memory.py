"""How long the predictor takes to its first answer, and what it holds in memory. Everything on, as in a pod."""

from __future__ import annotations

import statistics
import time

import psutil

from benchmarks.configurations import EVERYTHING_ON, authorization
from benchmarks.cores import rss_mb
from benchmarks.data_plane import headers, score_request
from benchmarks.load import Target, http_request, run_load
from benchmarks.measuring import Plan
from benchmarks.processes import get_request, predictor, unready_predictor, wait_until_answers
from benchmarks.subject import GRPC_METHOD, grpc_message, v2_body, v2_path
from benchmarks.traces import traces_sink

_REQUESTS = 10_000
_LONGEST_SECONDS = 60.0


def start(plan: Plan) -> dict[str, float]:
    """Return the seconds to the first score and to readiness."""
    with traces_sink() as traces:
        starts = [_start(plan, traces.url) for _ in range(plan.rounds)]
    return {
        "start_to_first_score_s": statistics.median(score for score, _ in starts),
        "start_to_ready_s": statistics.median(ready for _, ready in starts),
    }


def _start(plan: Plan, traces_url: str) -> tuple[float, float]:
    """Return the seconds from starting the process to the first 200 of `/score`, and of `/health/ready` after it."""
    log = plan.folder / "start.log"
    request = score_request(plan.subject, EVERYTHING_ON)
    with unready_predictor(plan.subject, EVERYTHING_ON, cores=plan.cores, log=log, traces_url=traces_url) as (
        server,
        process,
    ):
        score = wait_until_answers(process, server.port, request, log) - server.started_at
        ready = wait_until_answers(process, server.port, get_request("/health/ready"), log) - server.started_at
    plan.say(f"first score after {score:.2f} s, ready after {ready:.2f} s")
    return score, ready


def memory(plan: Plan) -> dict[str, float]:
    """Return the predictor's resident memory after requests of every kind, in MB, and that of its children."""
    subject, log = plan.subject, plan.folder / "memory.log"
    score = score_request(subject, EVERYTHING_ON)
    with (
        traces_sink() as traces,
        predictor(subject, EVERYTHING_ON, cores=plan.cores, log=log, first=score, traces_url=traces.url) as server,
    ):
        v2 = http_request(v2_path(), v2_body(subject), headers(EVERYTHING_ON))
        by_grpc = Target(server.grpc_port, grpc_message(subject), GRPC_METHOD, authorization(EVERYTHING_ON))
        shares = {Target(server.port, score): 0.8, Target(server.port, v2): 0.1, by_grpc: 0.1}
        for target, share in shares.items():
            run_load(
                target,
                connections=16,
                seconds=_LONGEST_SECONDS,
                requests=int(_REQUESTS * share),
                core=plan.cores.load,
            )
        time.sleep(1.0)  # spans and metrics under way are sent
        own = rss_mb(server.pid)
        children = sum(rss_mb(child.pid) for child in psutil.Process(server.pid).children(recursive=True))
    plan.say(f"{own:.0f} MB, its children {children:.0f} MB")
    return {"rss_mb": own, "rss_children_mb": children}
