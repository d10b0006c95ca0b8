from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from predictor.security.errors import SecurityMisconfigured
from predictor.security.keys import BadKeySet, read_key_set, secret_key
from tests.predictor.security.issuers import SECRET, ec_key, key_set, public_jwk, rsa_key


def _set(*members: object) -> bytes:
    return json.dumps({"keys": members}).encode()


def test_rsa_and_p256_keys_are_read_with_the_one_algorithm_of_each() -> None:
    found = read_key_set(key_set(one=rsa_key("a"), two=ec_key("b")))
    assert [(key.kid, key.algorithm) for key in found.keys] == [("one", "RS256"), ("two", "ES256")]
    assert found.left_out == ()


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"alg": "RS512"}, "another algorithm"),
        ({"alg": "HS256"}, "another algorithm"),
        ({"alg": ["RS256"]}, "another algorithm"),
        ({"use": "enc"}, "not for signatures"),
        ({"key_ops": ["sign"]}, "may not verify"),
        ({"key_ops": "verify"}, "may not verify"),
        ({"kty": "EC"}, "curve"),
        ({"kty": "oct", "k": "AAAA"}, "neither"),
        ({"kty": ["RSA"]}, "neither"),
        ({"n": 5}, "no key"),
        ({"n": "ü"}, "no key"),
        ({"e": ""}, "no key"),
        ({"kid": 7}, "kid"),
        ({"kid": "x" * 257}, "kid"),
        ({"kid": "good"}, "same kid"),
    ],
)
def test_a_key_that_does_not_fit_is_left_out_with_its_reason(members: dict[str, Any], reason: str) -> None:
    bad = public_jwk(rsa_key("a"), kid="bad") | members
    found = read_key_set(_set(public_jwk(rsa_key("b"), kid="good"), bad))
    assert [key.kid for key in found.keys] == ["good"]
    assert len(found.left_out) == 1
    assert reason in found.left_out[0]


def test_an_rsa_key_of_1024_bits_is_left_out() -> None:
    with pytest.raises(BadKeySet, match="1024 bits"):
        read_key_set(_set(public_jwk(rsa_key("weak", 1024))))


def test_a_point_that_is_not_on_the_curve_is_left_out() -> None:
    point = public_jwk(ec_key("a"))
    with pytest.raises(BadKeySet, match="no key for ES256"):
        read_key_set(_set(point | {"y": point["x"]}))


def test_private_members_of_a_set_are_not_read() -> None:
    private = public_jwk(rsa_key("a"), kid="k", d="AQAB", p="AQAB", q="AQAB")
    (key,) = read_key_set(_set(private)).keys
    assert key.jwk.key.public_numbers() == rsa_key("a").public_key().public_numbers()
    assert '"d"' not in key.members


@pytest.mark.parametrize(
    "document", [b"", b"[]", b'{"keys": {}}', b'{"keys": []}', b"\xff", b"[" * 100_000, _set(1, "x")]
)
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(BadKeySet):
        read_key_set(document)


def test_more_than_a_hundred_keys_are_refused() -> None:
    with pytest.raises(BadKeySet, match="101 keys"):
        read_key_set(_set(*[1] * 101))


def test_a_token_without_a_kid_means_the_only_key_and_none_of_several() -> None:
    one = read_key_set(key_set(one=rsa_key("a")))
    assert one.find(None) is one.keys[0]
    assert read_key_set(key_set(one=rsa_key("a"), two=rsa_key("b"))).find(None) is None


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=12)
    | st.sampled_from(["RSA", "EC", "P-256", "AQAB", "sig"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
_members = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("kty", "kid", "alg", "use", "key_ops", "n", "e", "crv", "x", "y", "k"), _values)
)


@given(st.lists(_members | _values, max_size=4))
def test_any_json_is_read_or_refused_and_nothing_else_happens(members: list[object]) -> None:
    try:
        found = read_key_set(_set(*members))
    except BadKeySet:
        return
    assert all(key.algorithm in ("RS256", "ES256") for key in found.keys)


@pytest.mark.parametrize("length", [0, 1, 31])
def test_a_secret_below_32_bytes_is_refused_with_a_way_to_make_one(length: int) -> None:
    with pytest.raises(SecurityMisconfigured, match=rf"has {length} bytes and needs at least 32.*openssl rand"):
        secret_key(b"x" * length)


def test_a_secret_of_32_bytes_is_taken() -> None:
    assert secret_key(b"x" * 32).algorithm == "HS256"


def test_a_public_key_is_no_secret() -> None:
    pem = rsa_key("a").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = rsa_key("a").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for known in (pem, der, json.dumps(public_jwk(rsa_key("a"))).encode()):
        with pytest.raises(SecurityMisconfigured, match="which others know"):
            secret_key(known)


def test_a_secret_does_not_appear_in_its_keys_text() -> None:
    assert SECRET.decode() not in repr(secret_key(SECRET))
