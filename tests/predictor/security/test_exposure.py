from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.security.exposure import is_loopback, may_listen_on, refusal


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "::ffff:127.0.0.1"])
def test_loopback_needs_nothing(address: str) -> None:
    assert may_listen_on(address, authenticated=False, anonymous_allowed=False)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.1.2.3", "fe80::1%eth0", "::ffff:10.0.0.1", "example.org", ""])
def test_any_other_address_needs_authentication_or_permission(address: str) -> None:
    assert not may_listen_on(address, authenticated=False, anonymous_allowed=False)
    assert may_listen_on(address, authenticated=True, anonymous_allowed=False)
    assert may_listen_on(address, authenticated=False, anonymous_allowed=True)


@given(st.ip_addresses(v=4))
def test_only_the_network_127_is_this_machine(address: ipaddress.IPv4Address) -> None:
    assert is_loopback(str(address)) == (str(address).split(".")[0] == "127")


def test_the_refusal_names_every_way_out() -> None:
    for way in ("TELLTALE_HOST=127.0.0.1", "TELLTALE_AUTH_", "TELLTALE_ALLOW_ANONYMOUS=true"):
        assert way in refusal("0.0.0.0")
