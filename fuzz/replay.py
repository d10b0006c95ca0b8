"""Sending once more what broke something."""

from __future__ import annotations

from pathlib import Path

from fuzz import grpc_target, http_bodies, http_heads, schema
from fuzz.campaign import TARGETS, Target, serving
from fuzz.guided_inputs import INPUTS
from fuzz.predictor_process import PredictorProcess, passable_folder
from fuzz.shrink import fails_in_child
from fuzz.tally import Tally


class NoFinding(Exception):
    """The file is none that a run kept."""


def replay(path: Path, *, seed: int) -> str:
    """Send the input in ``path`` again and return what it gets, in words.

    Args:
        path: a file that a run kept; its name says which target found it.
        seed: that run's, which made the models that the server serves.

    Raises:
        NoFinding: the file is not there, or its name is of no target.

    """
    target = next((target for target in TARGETS if path.name.startswith(f"{target.name}-")), None)
    if target is None or not path.is_file():
        raise NoFinding(f"{path} is no file that a run kept")
    data = path.read_bytes()
    if target.mode is None:
        return fails_in_child(INPUTS[target.kind], data) or "nothing is wrong with it"
    if target.kind == schema.NAME:
        return f"run these against a server of your own:\n{data.decode()}"
    with passable_folder("telltale-replay-") as folder, serving(target.mode, folder / "server", seed=seed) as started:
        return f"{_sent(target, started[0], data)}\n{started[0].last_words()}"


def _sent(target: Target, server: PredictorProcess, data: bytes) -> str:
    tally = Tally(target.name)
    if target.kind == http_bodies.NAME:
        return http_bodies.HttpTarget(server, tally).replay(data)
    if target.kind == http_heads.NAME:
        return http_heads.HeadTarget(server, tally).replay(data)
    return grpc_target.GrpcTarget(server, tally).replay(data)
