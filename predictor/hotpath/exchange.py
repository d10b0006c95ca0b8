"""What the hot path's parts hand to each other: a whole request, and what a transport knows of what was scored. PURE.

An :class:`HttpRequest` is a request whose body was read, within its limits; its answer is a
:class:`predictor.problems.Answer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from predictor.models.version_reader import LoadedVersion

Headers = Sequence[tuple[bytes, bytes]]
# What a token must hold for a route; None for routes that need none.
Scope = Literal["telemetry:ingest", "telemetry:score", "models:read", "models:write"]


class HttpRequest(msgspec.Struct, gc=False):
    """A request over HTTP; header names are in lower case, ``query`` is what follows the question mark."""

    method: str
    path: str
    query: bytes
    headers: Headers
    body: bytes
    request_id: str

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header, or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


@dataclass(frozen=True)
class Scored:
    """Rows that a version scored, as the prediction log and the metrics want them.

    Args:
        loaded: the version that scored.
        decision: the decision functions, ``(n,)``.
        X: the rows, ``(n, n_features)``.
        seconds: how long the request took up to here.
        request_id: the request's id.
        protocol: what carried it.
        vehicle_ids: one for each row, where the protocol has them.

    """

    loaded: LoadedVersion
    decision: NDArray[np.float64]
    X: NDArray[Any]
    seconds: float
    request_id: str
    protocol: Literal["score", "v1", "v2-rest", "v2-grpc"]
    vehicle_ids: Sequence[str] | None = None


class Recorder(Protocol):
    """Takes note of what was scored; never raises, never waits."""

    def many(self, scored: Scored) -> None:
        """Take note of rows that one version scored; any thread may call it."""

    def one(
        self,
        loaded: LoadedVersion,
        decision: float,
        values: Sequence[float],
        *,
        seconds: float,
        request_id: str,
        protocol: Literal["score", "v1", "v2-rest", "v2-grpc"],
        vehicle_id: str | None = None,
    ) -> None:
        """Take note of one row; called on the event loop."""
