"""V2 by gRPC, one record: the predictor against KServe's SDK around the same kernel.

16 connections with one call under way on each, as everywhere here; what one connection with 16 calls gives is reported
beside it. Where either server leaves its core idle, the ratio is of requests to processor time, not to time.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from importlib import import_module
from typing import Any

from benchmarks.configurations import EVERYTHING_OFF
from benchmarks.data_plane import WrongAnswer, score_request
from benchmarks.load import Target
from benchmarks.measuring import Plan, Sample, raw_figures, rps_ratio, sampler, warm_up
from benchmarks.peers import KSERVE_KERNEL, running_peer
from benchmarks.processes import predictor
from benchmarks.rounds import alternate, median_ratio
from benchmarks.subject import GRPC_METHOD, Subject, grpc_message

_BUSY = 0.95


def run(plan: Plan) -> dict[str, float]:
    """Return the figures of gRPC on both servers.

    Raises:
        NotInstalled, NotStarted: there is no KServe to compare with.

    """
    subject = plan.subject
    with ExitStack() as stack:
        first = score_request(subject, EVERYTHING_OFF)
        log = plan.folder / "grpc.log"
        ours = stack.enter_context(predictor(subject, EVERYTHING_OFF, cores=plan.cores, log=log, first=first))
        theirs = stack.enter_context(running_peer(KSERVE_KERNEL, subject, cores=plan.cores, folder=plan.folder))
        servers = {"v2_grpc": ours, "kserve_kernel_grpc": theirs}
        message = grpc_message(subject)
        targets = {name: Target(server.grpc_port, message, GRPC_METHOD) for name, server in servers.items()}
        for target in targets.values():
            _check(target, subject)
        warm_up(plan, *targets.values())
        by_connections = {name: sampler(plan, servers[name], targets[name], 16) for name in servers}
        samples = alternate(by_connections, plan.rounds, plan.say)
        by_streams = {name: sampler(plan, servers[name], targets[name], 1, streams=16) for name in servers}
        multiplexed = alternate(by_streams, max(1, plan.rounds // 2), plan.say)
        rest = sampler(plan, theirs, Target(theirs.port, KSERVE_KERNEL.request(subject)), 16)
        kserve_rest = alternate({"kserve_kernel_rest": rest}, max(1, plan.rounds // 2), plan.say)["kserve_kernel_rest"]
    figures: dict[str, float] = {}
    for name in servers:
        figures |= raw_figures(name, samples[name], "c16")
        figures[f"{name}_rps_streams16"] = statistics.median(sample.rps for sample in multiplexed[name])
    figures |= raw_figures("kserve_kernel_rest", kserve_rest, "c16")
    figures["v2_grpc_ratio_to_kserve_kernel"] = ratio(samples["v2_grpc"], samples["kserve_kernel_grpc"])
    return figures


def ratio(ours: list[Sample], theirs: list[Sample]) -> float:
    """Return our requests to theirs: in a second where both servers were busy, else in a second of their cores."""
    if is_by_cpu(*(statistics.median(sample.busy for sample in group) for group in (ours, theirs))):
        return median_ratio([sample.rps_of_cpu for sample in ours], [sample.rps_of_cpu for sample in theirs])
    return rps_ratio(ours, theirs)


def is_by_cpu(*busy: float) -> bool:
    """Tell whether requests/s would measure the client: a server was less busy than it can be."""
    return min(busy) < _BUSY


def _check(target: Target, subject: Subject) -> None:
    # Imported late: these take seconds to import.
    grpc: Any = import_module("grpc")
    protocol: Any = import_module("kserve.protocol.grpc.grpc_predict_v2_pb2")
    with grpc.insecure_channel(f"127.0.0.1:{target.port}") as channel:
        call = channel.unary_unary(GRPC_METHOD, response_deserializer=protocol.ModelInferResponse.FromString)
        try:
            answer = call(target.request, timeout=30, wait_for_ready=True)
        except grpc.RpcError as refusal:
            raise WrongAnswer(f"gRPC answers {refusal.code()}: {refusal.details()}") from refusal
    names = [output.name for output in answer.outputs]
    score = names.index("anomaly_score")
    if answer.raw_output_contents:
        got = memoryview(answer.raw_output_contents[score]).cast("d")[0]
    else:
        got = answer.outputs[score].contents.fp64_contents[0]
    if abs(got - subject.decision) > 1e-12:
        raise WrongAnswer(f"gRPC answers {got}, scikit-learn {subject.decision}")
