"""The rule that keeps an open server off the network: without authentication only this machine may reach it. PURE."""

from __future__ import annotations

import ipaddress


def may_listen_on(address: str, *, authenticated: bool, anonymous_allowed: bool) -> bool:
    """Tell whether a server may listen on ``address``.

    Args:
        address: an IP address, or ``localhost``. Any other name counts as reachable from elsewhere.
        authenticated: whether requests must carry a token.
        anonymous_allowed: whether the operator allowed anonymous use in words.

    """
    return authenticated or anonymous_allowed or is_loopback(address)


def refusal(address: str) -> str:
    """Return the sentence that says why ``address`` is refused, and what to do."""
    return (
        f"listening on {address} would let anyone on the network train and score without credentials: keep"
        " TELLTALE_HOST=127.0.0.1, or configure authentication (TELLTALE_AUTH_SECRET or TELLTALE_AUTH_JWKS_URL), or"
        " allow it in words with TELLTALE_ALLOW_ANONYMOUS=true"
    )


def is_loopback(address: str) -> bool:
    """Tell whether only this machine can reach ``address``."""
    if address == "localhost":
        return True
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback
