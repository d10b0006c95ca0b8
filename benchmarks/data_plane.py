"""The predictor against the floor: `/score` and V2 REST for one record, everything off and everything on.

Every server runs alone on the server's core while it is asked; all of them are up, so that rounds can alternate.
"""

from __future__ import annotations

from contextlib import ExitStack

import httpx

from benchmarks.configurations import EVERYTHING_OFF, EVERYTHING_ON, authorization
from benchmarks.load import Target, http_request
from benchmarks.measuring import Plan, Sample, raw_figures, rps_ratio, sampler, warm_up
from benchmarks.processes import Running, bare, predictor
from benchmarks.rounds import alternate, median_ratio
from benchmarks.subject import Subject, score_body, v2_body, v2_path
from benchmarks.traces import traces_sink

# What is measured in turn at each number of connections.
_CONTENDERS = {
    1: ("score", "bare", "score_in_two", "bare_in_two"),
    16: ("score", "bare", "score_in_two", "bare_in_two", "score_full", "v2_rest"),
    64: ("score", "bare"),
}


class WrongAnswer(Exception):
    """A server answers something else than scikit-learn says, so its speed means nothing."""


def score_request(subject: Subject, settings: dict[str, str]) -> bytes:
    """Return the whole request of `POST /score` under ``settings``."""
    return http_request("/score", score_body(subject), headers(settings))


def headers(settings: dict[str, str]) -> dict[str, str]:
    """Return the headers that ``settings`` ask for."""
    token = authorization(settings)
    return {"Authorization": token} if token else {}


def run(plan: Plan) -> dict[str, float]:
    """Return the figures of `/score` and V2 REST, and their ratios to the floor."""
    subject, cores, logs = plan.subject, plan.cores, plan.folder
    off, on = score_request(subject, EVERYTHING_OFF), score_request(subject, EVERYTHING_ON)
    with ExitStack() as stack:
        enter = stack.enter_context
        server = enter(predictor(subject, EVERYTHING_OFF, cores=cores, log=logs / "off.log", first=off))
        traces = enter(traces_sink())
        full = enter(
            predictor(subject, EVERYTHING_ON, cores=cores, log=logs / "on.log", first=on, traces_url=traces.url)
        )
        floor = enter(bare(subject, cores=cores, log=logs / "bare.log", first=off))
        check_score(server, subject, EVERYTHING_OFF)
        check_score(full, subject, EVERYTHING_ON)
        targets = {
            "score": (server, Target(server.port, off)),
            "bare": (floor, Target(floor.port, off)),
            "score_full": (full, Target(full.port, on)),
            "score_in_two": (server, Target(server.port, off, in_two=True)),
            "bare_in_two": (floor, Target(floor.port, off, in_two=True)),
            "v2_rest": (server, Target(server.port, http_request(v2_path(), v2_body(subject)))),
        }
        warm_up(plan, *(target for _, target in targets.values()))
        figures: dict[str, float] = {}
        for connections in _CONTENDERS:
            figures |= _figures(plan, targets, connections)
        figures["trace_requests_received"] = float(traces.received)
    return figures


def check_score(server: Running, subject: Subject, settings: dict[str, str]) -> None:
    """Ask for the record once; WrongAnswer if the score is not scikit-learn's."""
    url = f"http://127.0.0.1:{server.port}/score"
    sent = headers(settings) | {"Content-Type": "application/json"}
    answer = httpx.post(url, content=score_body(subject), headers=sent, timeout=30)
    if answer.status_code != httpx.codes.OK:
        raise WrongAnswer(f"/score answers {answer.status_code}: {answer.text[:200]}")
    score = answer.json()["anomaly_score"]
    if abs(score - subject.decision) > 1e-12:
        raise WrongAnswer(f"/score answers {score}, scikit-learn {subject.decision}")


def _figures(plan: Plan, targets: dict[str, tuple[Running, Target]], connections: int) -> dict[str, float]:
    names = _CONTENDERS[connections]
    contenders = {name: sampler(plan, *targets[name], connections) for name in names}
    plan.say(f"{connections} connections")
    samples = alternate(contenders, plan.rounds, plan.say)
    suffix = f"c{connections}"
    figures = {key: value for name in names for key, value in raw_figures(name, samples[name], suffix).items()}
    figures[f"score_share_of_bare_{suffix}"] = rps_ratio(samples["score"], samples["bare"])
    if "score_in_two" in samples:
        figures[f"score_in_two_share_of_bare_{suffix}"] = rps_ratio(samples["score_in_two"], samples["bare_in_two"])
    figures[f"load_cpu_share_{suffix}"] = max(s.load.cpu_share for group in samples.values() for s in group)
    if connections == 16:
        figures |= _at_16(samples)
    return figures


def _at_16(samples: dict[str, list[Sample]]) -> dict[str, float]:
    p99 = {name: [sample.load.p99_us for sample in samples[name]] for name in ("score", "bare")}
    return {
        "score_p99_ratio_c16": median_ratio(p99["score"], p99["bare"]),
        "score_full_share_of_bare_c16": rps_ratio(samples["score_full"], samples["bare"]),
        "v2_rest_share_of_score": rps_ratio(samples["v2_rest"], samples["score"]),
    }
