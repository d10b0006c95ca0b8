"""What a refused client is told in ``WWW-Authenticate`` (RFC 6750, section 3). PURE."""

from __future__ import annotations

import re

from predictor.security.errors import Forbidden, Reason, Refused, Unauthenticated

_REALM = 'Bearer realm="telltale"'
# RFC 6750 has an error_description without quotes, backslashes and anything beyond ASCII.
_NOT_DESCRIBABLE = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")


def www_authenticate(refusal: Refused) -> str | None:
    """Return the value of ``WWW-Authenticate`` for a 401 or 403; None where there is nothing to challenge."""
    if isinstance(refusal, Forbidden):
        return f'{_challenge("insufficient_scope", refusal)}, scope="{refusal.needed}"'
    if not isinstance(refusal, Unauthenticated):
        return None
    # A request without a token made no error yet: it only learns how to ask.
    return _REALM if refusal.reason is Reason.MISSING else _challenge("invalid_token", refusal)


def _challenge(error: str, refusal: Refused) -> str:
    description = _NOT_DESCRIBABLE.sub(" ", refusal.detail)
    return f'{_REALM}, error="{error}", error_description="{description}"'
