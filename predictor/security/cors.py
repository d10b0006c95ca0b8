"""Which pages of other origins may call from a browser: none, unless the operator names their origins. PURE.

An origin matches exactly or not at all, and ``*`` is refused: who may call is a decision about pages that are known.
Tokens come in the Authorization header, so browsers need not send credentials of their own, and are never allowed to.
An answer depends on the origin that asks, which ``Vary`` tells caches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from predictor.security.errors import SecurityMisconfigured

RawHeaders = tuple[tuple[bytes, bytes], ...]

METHODS = b"GET, HEAD, POST, OPTIONS"
# What clients send beside what browsers always allow; and what of our answers their pages may read.
REQUEST_HEADERS = (
    b"authorization, content-type, accept, idempotency-key, prefer, x-request-id, traceparent, tracestate,"
    b" inference-header-content-length"
)
EXPOSED_HEADERS = (
    b"x-request-id, location, retry-after, ratelimit, ratelimit-policy, www-authenticate,"
    b" inference-header-content-length"
)
MAX_AGE_SECONDS = 600

_VARY = (b"vary", b"origin")
_ORIGIN = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")


class Cors:
    """Answers for a set of allowed origins.

    Args:
        origins: such as ``https://fleet.example`` or ``http://localhost:3000``; at least one.

    Raises:
        SecurityMisconfigured: one of them is no origin.

    """

    def __init__(self, origins: Iterable[str]) -> None:
        self._answers: dict[bytes | None, RawHeaders] = {}
        self._preflights: dict[bytes | None, RawHeaders] = {}
        for origin in origins:
            allowed = _checked(origin).encode()
            allow = (b"access-control-allow-origin", allowed)
            self._answers[allowed] = (allow, (b"access-control-expose-headers", EXPOSED_HEADERS), _VARY)
            self._preflights[allowed] = (
                allow,
                (b"access-control-allow-methods", METHODS),
                (b"access-control-allow-headers", REQUEST_HEADERS),
                (b"access-control-max-age", str(MAX_AGE_SECONDS).encode()),
                _VARY,
            )

    @classmethod
    def of(cls, origins: str) -> Cors | None:
        """Return the answers for origins between commas; None where none is named, so that nothing is asked at all."""
        named = [origin.strip() for origin in origins.split(",") if origin.strip()]
        return cls(named) if named else None

    def headers(self, origin: bytes | None) -> RawHeaders:
        """Return the headers for an answer to a request of ``origin``."""
        return self._answers.get(origin, (_VARY,))

    def preflight(self, method: str, fields: Mapping[bytes, bytes]) -> RawHeaders | None:
        """Return the headers that answer a browser's question before a request; None if this is no such question.

        It carries no token, so it must be answered before authentication. A page of another origin gets an answer
        that allows nothing.
        """
        if method != "OPTIONS" or b"origin" not in fields or b"access-control-request-method" not in fields:
            return None
        return self._preflights.get(fields[b"origin"], (_VARY,))


def _checked(origin: str) -> str:
    if not _ORIGIN.fullmatch(origin):
        raise SecurityMisconfigured(
            f"TELLTALE_CORS_ORIGINS: {origin!r} is no origin; write scheme, host and port as browsers do, such as"
            " https://fleet.example or http://localhost:3000, in lower case and without a path"
        )
    # Browsers leave a scheme's own port out, so that an origin with it would never match.
    return origin.removesuffix(":443" if origin.startswith("https:") else ":80")
