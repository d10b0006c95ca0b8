"""The load over gRPC: calls of every method, good and bad, a few dozen under way at a time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

from fuzz.grpc_cases import SERVICE, messages
from soak.bodies import WIDTH
from soak.subject import MODEL, OLDER
from soak.tally import Tally
from soak.tokens import Tokens

_TIMEOUT_SECONDS = 60.0
_HEALTH = "/grpc.health.v1.Health/Check"
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Call:
    """A kind of call; ``code`` is the name of the status that it must get."""

    name: str
    method: str
    message: bytes
    code: str
    weight: float
    metadata: Metadata
    rows: int = 0


def call_kinds(tokens: Tokens) -> list[Call]:
    """Return every kind of call."""
    good, pb = _bearer(tokens.good[2]), messages()
    one = _infer(pb)
    infer = f"/{SERVICE}/ModelInfer"
    return [
        Call("gRPC infer", infer, one, "OK", 30, good, rows=1),
        Call("gRPC infer, raw", infer, _infer(pb, raw=True), "OK", 10, good, rows=1),
        Call("gRPC infer, 5 rows", infer, _infer(pb, rows=5), "OK", 5, good, rows=5),
        Call("gRPC infer, 300 rows", infer, _infer(pb, rows=300), "OK", 0.5, good, rows=300),
        Call("gRPC infer, older version", infer, _infer(pb, version=OLDER), "OK", 3, good, rows=1),
        Call("gRPC infer, NaN", infer, _infer(pb, value=float("nan")), "INVALID_ARGUMENT", 3, good),
        Call("gRPC infer, wrong shape", infer, _infer(pb, width=3), "INVALID_ARGUMENT", 3, good),
        Call("gRPC infer, no message", infer, b"\xff" * 40, "INVALID_ARGUMENT", 2, good),
        Call("gRPC infer, unknown model", infer, _infer(pb, model="nobody"), "NOT_FOUND", 2, good),
        Call("gRPC infer, unknown version", infer, _infer(pb, version="20300101000000"), "NOT_FOUND", 1, good),
        Call("gRPC infer, no token", infer, one, "UNAUTHENTICATED", 2, ()),
        Call("gRPC infer, expired", infer, one, "UNAUTHENTICATED", 2, _bearer(tokens.expired)),
        Call("gRPC infer, no scope", infer, one, "PERMISSION_DENIED", 2, _bearer(tokens.forbidden)),
        *_others(pb, good),
    ]


def _others(pb: Any, good: Metadata) -> list[Call]:
    load = pb.RepositoryModelLoadRequest(model_name=MODEL).SerializeToString()
    calls: dict[str, tuple[bytes, str]] = {
        "ServerLive": (b"", "OK"),
        "ServerReady": (b"", "OK"),
        "ServerMetadata": (b"", "OK"),
        "ModelReady": (pb.ModelReadyRequest(name=MODEL).SerializeToString(), "OK"),
        "ModelMetadata": (pb.ModelMetadataRequest(name=MODEL).SerializeToString(), "OK"),
        "RepositoryModelLoad": (load, "FAILED_PRECONDITION"),
        "NoSuchMethod": (b"", "UNIMPLEMENTED"),
    }
    kinds = [Call(f"gRPC {name}", f"/{SERVICE}/{name}", *said, 1, good) for name, said in calls.items()]
    return [*kinds, Call("gRPC health", _HEALTH, b"", "OK", 1, ())]


def _infer(
    pb: Any,
    *,
    model: str = MODEL,
    version: str = "",
    rows: int = 1,
    width: int = WIDTH,
    value: float = 0.5,
    raw: bool = False,
) -> bytes:
    tensor = pb.ModelInferRequest.InferInputTensor(name="features", datatype="FP64", shape=[rows, width])
    request = pb.ModelInferRequest(model_name=model, model_version=version, inputs=[tensor])
    if raw:
        request.raw_input_contents.append(np.full((rows, width), value, "<f8").tobytes())
    else:
        request.inputs[0].contents.fp64_contents.extend([value] * rows * width)
    message: bytes = request.SerializeToString()
    return message


def _bearer(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)


class Calling:
    """Makes calls.

    Args:
        port: of the server on 127.0.0.1.
        kinds: what is called, by weight.
        tally: where codes are counted.
        seed: of the order.

    """

    def __init__(self, port: int, kinds: Sequence[Call], tally: Tally, *, seed: int) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._kinds = kinds
        self._tally = tally
        self._random = random.Random(seed)  # noqa: S311 - the same order in every run
        self._methods = {kind.method: self._channel.unary_unary(kind.method) for kind in kinds}

    def call(self, count: int) -> None:
        """Make so many calls side by side."""
        self._make(self._random.choices(self._kinds, [kind.weight for kind in self._kinds], k=count))

    def call_each(self) -> None:
        """Make one call of each kind."""
        self._make(self._kinds)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _make(self, kinds: Sequence[Call]) -> None:
        for kind, code in self._codes(kinds):
            self._tally.note_call(kind.name, kind.code, code, rows=kind.rows)

    def _codes(self, kinds: Sequence[Call]) -> Iterator[tuple[Call, str]]:
        under_way = [
            (kind, self._methods[kind.method].future(kind.message, timeout=_TIMEOUT_SECONDS, metadata=kind.metadata))
            for kind in kinds
        ]
        for kind, future in under_way:
            yield kind, future.code().name
