from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.security.cors import Cors
from predictor.security.errors import SecurityMisconfigured

FLEET = b"https://fleet.example"


def _cors() -> Cors:
    cors = Cors.of("https://fleet.example, http://localhost:3000")
    assert cors is not None
    return cors


@pytest.mark.parametrize("nothing", ["", " ", ",", " , "])
def test_no_origins_means_no_cors_at_all(nothing: str) -> None:
    assert Cors.of(nothing) is None


def test_an_allowed_origin_is_named_back_and_caches_are_told() -> None:
    headers = dict(_cors().headers(FLEET))
    assert headers[b"access-control-allow-origin"] == FLEET
    assert headers[b"vary"] == b"origin"
    assert b"ratelimit" in headers[b"access-control-expose-headers"]
    assert b"access-control-allow-credentials" not in headers


@pytest.mark.parametrize(
    "origin",
    [None, b"", b"null", b"*", b"https://fleet.example.evil", b"https://evil-fleet.example", b"http://fleet.example",
     b"https://fleet.example:8443", b"https://fleet.example/", b"HTTPS://FLEET.EXAMPLE", b"http://localhost", b"\xff"],
)  # fmt: skip
def test_every_other_origin_is_allowed_nothing(origin: bytes | None) -> None:
    assert _cors().headers(origin) == ((b"vary", b"origin"),)
    fields = {b"access-control-request-method": b"POST"} | ({b"origin": origin} if origin is not None else {})
    assert _cors().preflight("OPTIONS", fields) in (None, ((b"vary", b"origin"),))


def test_a_preflight_is_answered_with_what_is_allowed() -> None:
    found = _cors().preflight("OPTIONS", {b"origin": FLEET, b"access-control-request-method": b"POST"})
    assert found is not None
    headers = dict(found)
    assert headers[b"access-control-allow-origin"] == FLEET
    assert b"POST" in headers[b"access-control-allow-methods"]
    assert b"authorization" in headers[b"access-control-allow-headers"]
    assert headers[b"access-control-max-age"] == b"600"
    assert headers[b"vary"] == b"origin"


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("POST", {b"origin": FLEET, b"access-control-request-method": b"POST"}),
        ("OPTIONS", {b"origin": FLEET}),
        ("OPTIONS", {b"access-control-request-method": b"POST"}),
    ],
)
def test_other_requests_are_no_preflights(method: str, fields: dict[bytes, bytes]) -> None:
    assert _cors().preflight(method, fields) is None


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "https://*.example", "fleet.example", "https://fleet.example/app", "https://", "ftp://fleet.example",
     "https://u:p@fleet.example", "https://Fleet.example", "https://fleet.example:0", "https://fleet example",
     "https://fleet.example\r\nx: y"],
)  # fmt: skip
def test_what_is_no_origin_is_refused_with_an_example(origin: str) -> None:
    with pytest.raises(SecurityMisconfigured, match=r"such as https://fleet\.example"):
        Cors([origin])


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("https://fleet.example:443", b"https://fleet.example"),
        ("http://fleet.example:80", b"http://fleet.example"),
        ("https://fleet.example:80", b"https://fleet.example:80"),
        ("http://[::1]:3000", b"http://[::1]:3000"),
        ("http://[::1]", b"http://[::1]"),
    ],
)
def test_an_origin_matches_as_browsers_write_it(written: str, sent: bytes) -> None:
    assert dict(Cors([written]).headers(sent))[b"access-control-allow-origin"] == sent


@given(st.binary(max_size=40) | st.sampled_from([b"https://fleet.example", b"http://localhost:3000"]))
def test_only_the_named_origins_are_ever_allowed(origin: bytes) -> None:
    allowed = dict(_cors().headers(origin)).get(b"access-control-allow-origin")
    assert allowed == (origin if origin in (FLEET, b"http://localhost:3000") else None)
