"""`docs/benchmarks.md` from the results. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.figures import FITTING, GOALS, REGISTRY, SERVERS, TRAINING, Figure, verdict
from benchmarks.grpc_inference import is_by_cpu

_MISSING = "-"


def page(results: Mapping[str, float], notes: Mapping[str, str], machine: str) -> str:
    """Return the page for people.

    Args:
        results: name to number; what is missing was never measured.
        notes: part to the reason why it could not be measured last time.
        machine: what it ran on, for the first paragraph.

    """
    return f"""# Benchmarks

Written by `make bench` on {machine}. What is compared is measured in one run: the server is one process on one core,
the load comes from another core, everybody serves the same forest (200 trees, 8 features) and is asked for the same
record. Figures are medians over alternating rounds, ratios are taken within a round, so that the machine's mood cancels
out.

{_goals(GOALS, results)}

![requests per second and shares](benchmarks.png)

{_grpc_sentence(results)}
{_notes(notes)}
## Requests per second

One record in each request. *Busy* is the share of the time that the server was on its core at 16 connections; its
processor time is that of all its processes. p50 and p99 are in microseconds.

{_servers(results)}

Bare ASGI is one uvicorn process (uvloop, httptools, no access log) that decodes the record with msgspec and answers a
constant of the same length (`benchmarks/bare.py`). Telltale answers a small request that came in one piece where
uvicorn parsed it, without the task that ASGI makes for each request, so a share can be above 1. Clients that send head
and body in two pieces may be answered the ordinary way: they have rows of their own, with the floor asked likewise.

*Everything off* still checks every record. *Everything on* verifies a token, counts a rate limit and metrics, and
traces one request in a hundred (`benchmarks/configurations.py`). The peers are built as their own guides show
(`benchmarks/peers/`), with their telemetry and request logs off.
{_load_sentence(results)}
## Training

{_goals(FITTING, results)}

Fitting is `trainer/fit.py` and `IsolationForest(contamination=0.05).fit(X)` in turn, in one thread on one core, by
processor time; their estimators are the same to the last bit (`docs/decisions/0014-fitting.md`). The trainer is a real
one on a PostgreSQL, an MLflow store and a folder of objects, with a model that took in twice the larger window before.
A window is 8 features and a time stamp, 72 bytes a row; up to 64 MiB of what is held are batches kept for the next
version.

## Scoring while a model is trained

{_goals(TRAINING, results)}

200 requests a second are due at fixed times on 16 connections, and a late start counts as latency. Training runs in
a process of its own at the lowest priority; bodies above 256 KiB are read in another.

## The registry's controller

{_goals(REGISTRY, results)}

A controller process with its own account, a real MLflow server, and the cluster of KUBECONFIG, which shares the
machine (`benchmarks/registry/`). Latencies are seen from outside: from sending the RolloutAction until a watch brings
the changed HTTPRoute, which is where a gateway hears of it; the command's own start is not in them. The bare controller
(`benchmarks/registry/bare_controller.py`) watches RolloutActions and applies a route, and neither reads nor decides.
How fast ServedModels come up is KServe's controller's pace. Aborts in a storm are of other ServedModels than those that
move. Writes are those of the API server's audit log where there is one, by the controller's account; Events and Leases,
which that log may leave out, are the controller's own count.

Every figure of the run is in `benchmarks/results.json`.
"""


def number(value: float) -> str:
    """Return a figure with as many digits as say something: thousands apart, three significant ones below a hundred."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _cell(results: Mapping[str, float], name: str) -> str:
    return number(results[name]) if name in results else _MISSING


def _goals(figures: Sequence[Figure], results: Mapping[str, float]) -> str:
    rows = [
        f"| {f.meaning} | `{f.name}` | {_cell(results, f.name)} | {f.goal or ''} | {verdict(f, results)} |"
        for f in figures
    ]
    return "\n".join(["| figure | name | value | goal | |", "|---|---|---|---|---|", *rows])


def _servers(results: Mapping[str, float]) -> str:
    columns = ("rps_c1", "rps_c16", "rps_c64", "p50_us_c16", "p99_us_c16", "busy_c16")
    rows = [
        " | ".join([f"| {server.title}", *(_cell(results, f"{server.prefix}_{column}") for column in columns)]) + " |"
        for server in SERVERS
    ]
    head = "| server | 1 connection | 16 | 64 | p50 at 16 | p99 at 16 | busy |"
    return "\n".join([head, "|---|---|---|---|---|---|---|", *rows])


def _grpc_sentence(results: Mapping[str, float]) -> str:
    busy = [results.get(f"{name}_busy_c16") for name in ("v2_grpc", "kserve_kernel_grpc")]
    shares = [share for share in busy if share is not None]
    if len(shares) < 2:
        return ""
    both = f"Telltale's was busy for {shares[0]:.0%} of the time, KServe's for {shares[1]:.0%}"
    if is_by_cpu(*shares):
        basis = "requests in a second of the server's processor time, since the load did not fill both servers' core"
    else:
        basis = "requests in a second"
    return f"`v2_grpc_ratio_to_kserve_kernel` compares {basis}: {both}.\n"


def _load_sentence(results: Mapping[str, float]) -> str:
    shares = [value for name, value in results.items() if name.startswith("load_cpu_share_")]
    if not shares:
        return ""
    return f"The load generator used at most {max(shares):.0%} of its own core.\n"


def _notes(notes: Mapping[str, str]) -> str:
    if not notes:
        return ""
    lines = [f"- **{part}**: {reason}" for part, reason in sorted(notes.items())]
    head = "Not measured in its last run (a figure of it, if there is one, is older):"
    return "\n".join([head, "", *lines, ""])
