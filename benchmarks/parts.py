"""The benchmarks' parts, in the order in which they run; each can be run alone by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks import (
    batches,
    data_plane,
    fitting,
    grpc_inference,
    kernel,
    peer_rates,
    score_under_training,
    start_and_memory,
    trainer_memory,
)
from benchmarks.cores import on_core
from benchmarks.load import LoadError
from benchmarks.measuring import Plan
from benchmarks.peers import PEERS, NotInstalled
from benchmarks.processes import NotStarted
from benchmarks.registry import part as registry

_TRAINING_ROUNDS = 5


# What makes a part's figures impossible here, and is said on the page; anything else is a fault of the benchmarks.
NOT_MEASURED = (NotInstalled, NotStarted, LoadError, data_plane.WrongAnswer)


@dataclass(frozen=True)
class Part:
    """A part: its name, what it measures, and what runs it; it returns its figures."""

    name: str
    meaning: str
    run: Callable[[Plan], dict[str, float]]


def _kernel(plan: Plan) -> dict[str, float]:
    with on_core(plan.cores.server):
        return kernel.run(plan.rounds)


def _fit(plan: Plan) -> dict[str, float]:
    with on_core(plan.cores.server):
        return fitting.run(min(plan.rounds, _TRAINING_ROUNDS), plan.say)


def _trainer(plan: Plan) -> dict[str, float]:
    return trainer_memory.run(min(plan.rounds, _TRAINING_ROUNDS), plan.cores.server, plan.say)


def _training(plan: Plan) -> dict[str, float]:
    return score_under_training.run(min(plan.rounds, _TRAINING_ROUNDS))


PARTS = (
    Part("kernel", "one record and 100,000 in process, against scikit-learn", _kernel),
    Part("score", "`/score` and V2 REST against the floor", data_plane.run),
    Part("grpc", "V2 gRPC against KServe's SDK with our kernel", grpc_inference.run),
    Part("batches", "100,000 rows in one request", batches.run),
    Part("start", "time to the first answer", start_and_memory.start),
    Part("memory", "resident memory after 10,000 requests", start_and_memory.memory),
    *(Part(peer.name, f"against {peer.title}", partial(peer_rates.run, peer=peer)) for peer in PEERS),
    Part("fit", "fitting 1,000,000 rows, against scikit-learn", _fit),
    Part("trainer", "a trainer's memory at a window of 1,000,000 rows", _trainer),
    Part("training", "`/score` while a model is trained", _training),
    Part(
        "registry",
        "an action to its HTTPRoute and fail-over, on the cluster of KUBECONFIG",
        registry.actions_and_failover,
    ),
    Part("crowd", "1,000 ServedModels on the cluster of KUBECONFIG", registry.many),
)
