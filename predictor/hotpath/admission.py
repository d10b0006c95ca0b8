"""Who may pass: the seam between the transports (HTTP and gRPC) and authentication, scopes and rate limits. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from predictor.hotpath.exchange import Scope

RawHeaders = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may pass: whose it is, and the headers that tell its client about the rate limit."""

    subject: str
    headers: RawHeaders = ()


class Admission(Protocol):
    """Lets requests pass or refuses them.

    Its refusals are errors that :mod:`predictor.problems` knows: 401, 403, 429, and 503 where keys cannot be had.
    """

    def quick(self, authorization: bytes | None, scope: Scope | None, client: str) -> Admitted | None:
        """Admit a request without waiting; None if only :meth:`full` can tell.

        Args:
            authorization: the Authorization header, or gRPC metadata of that name.
            scope: what its token must hold; None for routes that need no token.
            client: the peer's address, which stands for the subject where nobody authenticates.

        """

    async def full(self, authorization: bytes | None, scope: Scope | None, client: str) -> Admitted:
        """Admit a request whose token was not seen before."""
