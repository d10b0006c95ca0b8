"""The tokens of the run: good ones of a few hundred subjects, a greedy one, and those that must be refused."""

from __future__ import annotations

import time

import jwt

SECRET = "a secret of the soak runs, of more than 32 bytes"  # noqa: S105 - protects nothing
SCOPES = "telemetry:score telemetry:ingest models:read"
_DAY = 86_400
# With the number of digits that NUMBER has, so that all these tokens are of one length.
_FRESH_SUBJECT = "new-{:012}"


class Tokens:
    """Makes tokens.

    Args:
        subjects: how many share the load.
        now: seconds since 1970; every token is good for a day from then on, but for those that must not be.

    """

    def __init__(self, subjects: int, *, now: float | None = None) -> None:
        self._issued = int(time.time() if now is None else now)
        self.good = [self._token(f"vehicle-{number}") for number in range(subjects)]
        self.greedy = self._token("greedy")
        self.expired = self._token("late", expires_at=self._issued - _DAY)
        self.forbidden = self._token("reader", scopes="models:read")
        self.wrong_audience = self._token("astray", audience="somebody else")
        self.unsigned = jwt.encode({"sub": "nobody", "scope": SCOPES, "exp": self._issued + _DAY}, "", "none")
        self.fresh_length = len(self.fresh(0))

    def fresh(self, number: int) -> str:
        """Return the good token of a subject of its own; all of them have the same length."""
        return self._token(_FRESH_SUBJECT.format(number))

    def _token(
        self, subject: str, *, scopes: str = SCOPES, expires_at: int | None = None, audience: str | None = None
    ) -> str:
        claims: dict[str, object] = {"sub": subject, "scope": scopes, "exp": expires_at or self._issued + _DAY}
        if audience is not None:
            claims["aud"] = audience
        return jwt.encode(claims, SECRET, "HS256")
