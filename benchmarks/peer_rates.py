"""The predictor's `/score` against a peer that serves the same forest by scikit-learn, for one record."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.configurations import EVERYTHING_OFF
from benchmarks.data_plane import score_request
from benchmarks.load import Target
from benchmarks.measuring import Plan, raw_figures, rps_ratio, sampler, warm_up
from benchmarks.peers import Peer, running_peer
from benchmarks.processes import predictor
from benchmarks.rounds import alternate

# They answer about a hundred requests a second: less time would count too few.
_LONGER = 5 / 3


def run(plan: Plan, peer: Peer) -> dict[str, float]:
    """Return a peer's figures and our ratio to it.

    Raises:
        NotInstalled, NotStarted: there is no such peer here.

    """
    subject, rounds = plan.subject, max(1, plan.rounds // 2)
    request = score_request(subject, EVERYTHING_OFF)
    with ExitStack() as stack:
        plan.say(f"{peer.title}: environment and start")
        theirs = stack.enter_context(running_peer(peer, subject, cores=plan.cores, folder=plan.folder))
        log = plan.folder / f"against-{peer.name}.log"
        ours = stack.enter_context(predictor(subject, EVERYTHING_OFF, cores=plan.cores, log=log, first=request))
        target, our_target = Target(theirs.port, peer.request(subject)), Target(ours.port, request)
        warm_up(plan, target, our_target)
        long = plan.seconds * _LONGER
        alone = alternate({peer.name: sampler(plan, theirs, target, 1, seconds=long)}, rounds, plan.say)
        at_16 = {
            "score": sampler(plan, ours, our_target, 16),
            peer.name: sampler(plan, theirs, target, 16, seconds=long),
        }
        samples = alternate(at_16, rounds, plan.say)
    return {
        **raw_figures(peer.name, alone[peer.name], "c1"),
        **raw_figures(peer.name, samples[peer.name], "c16"),
        f"score_ratio_to_{peer.name}": rps_ratio(samples["score"], samples[peer.name]),
    }
