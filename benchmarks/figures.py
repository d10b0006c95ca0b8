"""The figures that have a goal, and why a goal is missed where one is. PURE.

:data:`WHY_MISSED` is the one place for reasons: a person writes one there after reading a run, and the page prints it
for as long as the goal stays missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """What a figure should be.

    Args:
        value: the bound, which itself is good.
        at_most: the figure should not be above it; otherwise not below it.

    """

    value: float
    at_most: bool = False

    def is_met(self, figure: float) -> bool:
        """Tell whether a figure is good."""
        return figure <= self.value if self.at_most else figure >= self.value

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.value:,.10g}"


@dataclass(frozen=True)
class Figure:
    """One row of the page: a result's name, what it says, and its goal, if there is one."""

    name: str
    meaning: str
    goal: Goal | None = None


WHY_MISSED: dict[str, str] = {
    "v2_grpc_ratio_to_kserve_kernel": (
        "both are served by `grpc.aio`, which takes some 260 us of processor time a call before a handler sees it. A"
        " handler that answers a constant has 1.6 times KServe's rate, so none could have 2"
        " (docs/decisions/0011-v2-protocol.md)"
    ),
}

GOALS = (
    Figure(
        "score_share_of_bare_c1", "`/score` requests/s, everything off, share of bare ASGI, 1 connection", Goal(0.95)
    ),
    Figure("score_share_of_bare_c16", "the same, 16 connections", Goal(0.95)),
    Figure("score_share_of_bare_c64", "the same, 64 connections", Goal(0.95)),
    Figure("score_full_share_of_bare_c16", "JWT, rate limit, metrics and 1 % traces on, 16 connections", Goal(0.75)),
    Figure("score_in_two_share_of_bare_c1", "head and body sent in two pieces, both servers, 1 connection"),
    Figure("score_in_two_share_of_bare_c16", "the same, 16 connections"),
    Figure("score_p99_ratio_c16", "`/score` p99 against bare, 16 connections", Goal(1.5, at_most=True)),
    Figure("score_ratio_to_fastapi", "`/score` requests/s against FastAPI + joblib, 16 connections", Goal(400)),
    Figure("score_ratio_to_kserve", "against KServe's SDK", Goal(200)),
    Figure("score_ratio_to_mlserver", "against MLServer", Goal(200)),
    Figure("score_ratio_to_bentoml", "against BentoML"),
    Figure("score_ratio_to_mlflow", "against `mlflow models serve`"),
    Figure("v2_rest_share_of_score", "V2 REST, one record, share of `/score`", Goal(0.8)),
    Figure("v2_grpc_ratio_to_kserve_kernel", "V2 gRPC, one record, against KServe's SDK with our kernel", Goal(2)),
    Figure("record_in_process_us", "one record in process (200 trees x 8 features), us", Goal(2, at_most=True)),
    Figure("record_ratio_to_sklearn", "the same against scikit-learn", Goal(4000)),
    Figure("batch_ratio_to_sklearn", "100,000 x 8 in process, one core, against scikit-learn", Goal(5)),
    Figure("v2_binary_100k_rows_per_s", "100,000 x 8 by V2 binary, end to end, rows/s", Goal(1e6)),
    Figure("v2_binary_share_of_kernel", "the same, share of in process", Goal(0.85)),
    Figure("v2_json_share_of_binary", "100,000 x 8 by V2 JSON, share of binary", Goal(0.6)),
    Figure("start_to_first_score_s", "process start to first `/score`, everything on, s", Goal(1.0, at_most=True)),
    Figure("start_to_ready_s", "process start to readiness (V2 and gRPC too), s", Goal(4.0, at_most=True)),
    Figure("rss_mb", "resident memory after 10,000 requests, one model, everything on, MB", Goal(150, at_most=True)),
)

FITTING = (
    Figure(
        "fit_ratio_to_sklearn",
        "fitting 1,000,000 x 8, share of scikit-learn's time",
        Goal(0.25, at_most=True),
    ),
    Figure("fit_seconds", "the same, s", Goal(2.0, at_most=True)),
    Figure("fit_sklearn_seconds", "scikit-learn's own fit, s"),
    Figure("training_1m_cpu_s", "a whole training on a window of 1,000,000 x 8, processor time of the trainer, s"),
    Figure("trainer_peak_100k_mb", "a trainer's resident memory at most, window of 100,000 x 8, MB"),
    Figure("trainer_peak_1m_mb", "the same, window of 1,000,000 x 8, MB"),
    Figure("trainer_windows_held", "what a larger window takes of it, in windows", Goal(4.0, at_most=True)),
)

TRAINING = (
    Figure("score_p99_quiet_ms", "p99 of `/score` at 200 requests/s, nothing else, ms"),
    Figure("score_p99_training_ms", "the same while 100,000 x 8 are trained, ms"),
    Figure(
        "score_p99_training_ratio", "the second to the first, median of the rounds' ratios", Goal(2.0, at_most=True)
    ),
    Figure("score_p99_with_intake_ratio", "the same from the sending of the batch to its version being served"),
    Figure("score_p99_taking_in_100k_ms", "p99 while the batch of 100,000 is taken in, ms"),
    Figure("training_100k_s", "from the batch's 202 to its version being served, s"),
)

REGISTRY = (
    Figure(
        "registry_action_ratio_to_bare",
        "an abort's or undo's creation to its HTTPRoute, against a controller that only writes it, medians",
        Goal(4.0, at_most=True),
    ),
    Figure("registry_action_p50_ms", "the same, median, ms"),
    Figure("registry_action_p99_ms", "the same, p99, ms", Goal(300, at_most=True)),
    Figure("registry_bare_action_p50_ms", "the bare controller's median, ms"),
    Figure("registry_bare_action_p99_ms", "the bare controller's p99, ms"),
    Figure("registry_failover_kill_s", "the leader killed to an abort's HTTPRoute, s", Goal(20, at_most=True)),
    Figure("registry_failover_stop_s", "the leader asked to stop to the same, s", Goal(3, at_most=True)),
    Figure("registry_crowd", "ServedModels in the rows below"),
    Figure("registry_bring_up_per_s", "brought from nothing to Healthy by this controller and KServe's, a second"),
    Figure("registry_idle_writes", "writes while nothing happens for 150 s", Goal(0, at_most=True)),
    Figure("registry_idle_lease_writes_per_min", "renewals of the Lease, which are not among them, a minute"),
    Figure("registry_idle_calls_per_s", "requests to the API server meanwhile, a second"),
    Figure("registry_idle_cpu_s_per_min", "processor time meanwhile, s a minute"),
    Figure("registry_rss_10_mb", "resident memory with 10 ServedModels, MB"),
    Figure("registry_rss_100_mb", "with 100"),
    Figure("registry_rss_1000_mb", "with 1,000"),
    Figure("registry_storm_s", "a fifth of all aliases moved at once to the last one's promotion, s"),
    Figure("registry_storm_reconcile_p99_s", "one look meanwhile, p99, s", Goal(1, at_most=True)),
    Figure("registry_storm_looks_per_rollout", "looks for each rollout"),
    Figure("registry_storm_calls_per_rollout", "requests to the API server for each rollout"),
    Figure("registry_storm_action_p50_ms", "an abort's creation to its HTTPRoute meanwhile, median, ms"),
    Figure("registry_storm_action_p99_ms", "the same, p99, ms", Goal(300, at_most=True)),
    Figure("registry_undo_burst_p50_ms", "a twentieth of all undone at once, median, ms"),
    Figure("registry_undo_burst_p99_ms", "the same, p99, ms"),
    Figure("registry_restart_first_look_s", "process start to the first look, s"),
    Figure("registry_restart_all_looked_s", "process start until all have been looked at, s"),
    Figure("registry_restart_writes", "writes of a controller that starts anew on what rests", Goal(0, at_most=True)),
)


@dataclass(frozen=True)
class Server:
    """One row of the table of requests: the prefix of a server's raw figures, and its name for people."""

    prefix: str
    title: str


SERVERS = (
    Server("bare", "bare ASGI (the floor)"),
    Server("score", "Telltale `/score`, everything off"),
    Server("bare_in_two", "bare ASGI, head and body in two pieces"),
    Server("score_in_two", "Telltale `/score`, everything off, in two pieces"),
    Server("score_full", "Telltale `/score`, everything on"),
    Server("v2_rest", "Telltale V2 REST"),
    Server("v2_grpc", "Telltale V2 gRPC"),
    Server("kserve_kernel_rest", "KServe SDK + our kernel, V2 REST"),
    Server("kserve_kernel_grpc", "KServe SDK + our kernel, V2 gRPC"),
    Server("fastapi", "FastAPI + joblib"),
    Server("kserve", "KServe SDK + scikit-learn, V2 REST"),
    Server("mlserver", "MLServer, V2 REST"),
    Server("bentoml", "BentoML"),
    Server("mlflow", "mlflow models serve"),
)


def verdict(figure: Figure, results: Mapping[str, float], why: Mapping[str, str] = WHY_MISSED) -> str:
    """Return what the page says about a figure's goal: nothing where there is no goal or no value yet."""
    if figure.goal is None or figure.name not in results:
        return ""
    if figure.goal.is_met(results[figure.name]):
        return "met"
    reason = why.get(figure.name)
    return f"**missed**: {reason}" if reason else "**missed**"


def missed(results: Mapping[str, float]) -> list[Figure]:
    """Return the figures whose goals are missed, in the page's order."""
    figures = (*GOALS, *FITTING, *TRAINING, *REGISTRY)
    return [f for f in figures if f.goal and f.name in results and not f.goal.is_met(results[f.name])]
