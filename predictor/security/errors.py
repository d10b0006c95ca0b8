"""What the security checks refuse.

PredictorError
└── Refused              ``reason`` is stable: metrics count by it
    ├── Unauthenticated  the request carries no token that this server takes
    ├── KeysUnavailable  tokens cannot be verified now, because the issuer's keys are not known; try again after a while
    ├── Forbidden        the token is good, and has not the scope that the route needs
    └── RateLimited      the subject has used its quota up; try again after a while

SecurityMisconfigured    settings that would be unsafe or cannot work (ends the process at its start, never a request)

No message holds anything of a token but the names of scopes that this server knows itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from enum import StrEnum

from predictor.errors import PredictorError


class Reason(StrEnum):
    """Why a request was refused; the values are labels of a metric and do not change."""

    MISSING = "missing"
    MALFORMED = "malformed"
    ALGORITHM_REFUSED = "algorithm_refused"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_AUDIENCE = "wrong_audience"
    WRONG_ISSUER = "wrong_issuer"
    BAD_CLAIMS = "bad_claims"
    KEYS_UNAVAILABLE = "keys_unavailable"
    MISSING_SCOPE = "missing_scope"
    RATE_LIMITED = "rate_limited"


class SecurityMisconfigured(ValueError):
    """The security settings would be unsafe or cannot work; the message says what to change."""


class Refused(PredictorError):
    """Base of what is refused for the sake of security."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Unauthenticated(Refused):
    """The request carries no token that this server takes."""


class KeysUnavailable(Refused):
    """The token may be good, but the keys to verify it with are not known now."""

    retry_after = 5

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.KEYS_UNAVAILABLE, detail)


class Forbidden(Refused):
    """The token is good and lacks the scope ``needed``; ``granted`` are the known scopes that it has."""

    def __init__(self, needed: str, granted: AbstractSet[str]) -> None:
        has = f"this token has {' '.join(sorted(granted))}" if granted else "this token has none that is known here"
        super().__init__(Reason.MISSING_SCOPE, f"this needs the scope {needed} and {has}: ask for a token with it")
        self.needed = needed
        self.granted = frozenset(granted)


class RateLimited(Refused):
    """The subject has used its quota up; ``retry_after`` is in seconds, ``headers`` tell the state of the quota."""

    def __init__(self, *, rate: float, retry_after: int, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        detail = f"more than {rate:g} requests a second came from this subject: wait {retry_after} s, and send fewer"
        super().__init__(Reason.RATE_LIMITED, detail)
        self.retry_after = retry_after
        self.headers = headers
