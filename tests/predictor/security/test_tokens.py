from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from predictor.security.errors import Reason, Unauthenticated
from predictor.security.keys import PUBLIC_KEY_ALGORITHMS, VerificationKey, read_key_set, secret_key
from predictor.security.tokens import MAX_TOKEN_BYTES, bearer_token, read_envelope, verified_claims
from tests.predictor.security.issuers import SECRET, claims, ec_key, forged, key_set, public_jwk, rsa_key, signed

KEYS = read_key_set(key_set(r=rsa_key("a"), e=ec_key("b")))
HS256 = frozenset({"HS256"})
GOOD = claims()


def _key(kid: str) -> VerificationKey:
    key = KEYS.find(kid)
    if key is None:
        raise Unauthenticated(Reason.UNKNOWN_KEY, "no such key")
    return key


def _refusal(header: bytes | None, *, kid: str = "r", algorithms: frozenset[str] = PUBLIC_KEY_ALGORITHMS) -> Reason:
    """Why a header is refused by the key that it names, or ``kid``."""
    with pytest.raises(Unauthenticated) as refusal:
        _open(header, kid=kid, algorithms=algorithms)
    return refusal.value.reason


def _open(header: bytes | None, *, kid: str = "r", algorithms: frozenset[str] = PUBLIC_KEY_ALGORITHMS) -> object:
    token = bearer_token(header)
    envelope = read_envelope(token, algorithms)
    key = secret_key(SECRET) if algorithms == HS256 else _key(envelope.kid or kid)
    return verified_claims(token, key, envelope.algorithm)


@pytest.mark.parametrize(("kid", "key"), [("r", rsa_key("a")), ("e", ec_key("b"))])
def test_a_token_is_opened_by_its_key(kid: str, key: object) -> None:
    assert _open(signed(key, GOOD, kid=kid)) == GOOD  # type: ignore[arg-type]


def test_a_token_is_opened_by_the_secret() -> None:
    assert _open(signed(SECRET, GOOD), algorithms=HS256) == GOOD


@pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer ", b"BEARER   "])
def test_the_scheme_is_read_in_any_case(scheme: bytes) -> None:
    assert bearer_token(scheme + b"a.b.c") == b"a.b.c"


@pytest.mark.parametrize("header", [None, b""])
def test_no_header_is_a_missing_token(header: bytes | None) -> None:
    assert _refusal(header) is Reason.MISSING


@pytest.mark.parametrize(
    "header",
    [
        b"Basic dTpw", b"Bearer", b"Bearer ", b"Bearera.b.c", b"Token a.b.c", b"Bearer a.b", b"Bearer a.b.c.d.e",
        b"Bearer a.b.c=", b"Bearer a.b.c d", b"Bearer a..c", b"Bearer \xff.b.c", b"Bearer a.b.c\n",
        b"Bearer bm90IGpzb24.e30.c", b"Bearer W10.e30.c", b"Bearer a.b.c",
    ],
)  # fmt: skip
def test_what_is_no_token_is_malformed(header: bytes) -> None:
    assert _refusal(header) is Reason.MALFORMED


def test_a_token_of_8_kib_is_the_longest_that_is_read() -> None:
    fitting = b"Bearer a.b." + b"c" * (MAX_TOKEN_BYTES - 4)
    assert len(bearer_token(fitting)) == MAX_TOKEN_BYTES
    assert _refusal(fitting + b"c") is Reason.MALFORMED


def test_an_unsigned_token_is_refused() -> None:
    for algorithm in ("none", "None", "NONE", "nOnE", "", None, 7, ["RS256"]):
        for signature in (b"", b"\x00" * 256):
            header = forged({"alg": algorithm, "kid": "r"}, GOOD, signature)
            assert _refusal(header) is Reason.ALGORITHM_REFUSED
            assert _refusal(header, algorithms=HS256) is Reason.ALGORITHM_REFUSED
    assert _refusal(forged({"kid": "r"}, GOOD, b"x")) is Reason.ALGORITHM_REFUSED


def _mac(secret: bytes, header: dict[str, object]) -> bytes:
    unsigned = forged(header, GOOD, b"")
    return forged(header, GOOD, hmac.digest(secret, unsigned.removeprefix(b"Bearer ").rstrip(b"."), hashlib.sha256))


def test_a_public_key_used_as_a_secret_signs_nothing() -> None:
    public = rsa_key("a").public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    known = [
        pem, pem.strip(), public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(public_jwk(rsa_key("a"), kid="r")).encode(), _key("r").members.encode(), b"",
    ]  # fmt: skip
    for secret in known:
        for kid in ("r", "e"):
            header: dict[str, object] = {"alg": "HS256", "kid": kid}
            assert _refusal(_mac(secret, header)) is Reason.ALGORITHM_REFUSED
            # The same bytes under the name of the key's own algorithm are no signature either.
            header["alg"] = _key(kid).algorithm
            assert _refusal(_mac(secret, header)) is Reason.BAD_SIGNATURE


def test_the_forging_of_the_tests_works_when_the_secret_is_right() -> None:
    assert _open(_mac(SECRET, {"alg": "HS256"}), algorithms=HS256) == GOOD


def test_a_key_verifies_only_its_own_algorithm() -> None:
    assert _refusal(signed(ec_key("b"), GOOD, kid="r")) is Reason.ALGORITHM_REFUSED
    assert _refusal(signed(rsa_key("a"), GOOD, kid="e")) is Reason.ALGORITHM_REFUSED
    assert _refusal(signed(rsa_key("a"), GOOD), algorithms=HS256) is Reason.ALGORITHM_REFUSED


@pytest.mark.parametrize(
    "algorithm", ["RS384", "RS512", "PS256", "ES384", "ES256K", "EdDSA", "HS384", "HS512", "rs256"]
)
def test_every_other_algorithm_is_refused(algorithm: str) -> None:
    header = forged({"alg": algorithm, "kid": "r"}, GOOD, b"x" * 256)
    assert _refusal(header) is Reason.ALGORITHM_REFUSED
    assert _refusal(header, algorithms=HS256) is Reason.ALGORITHM_REFUSED


def test_a_signature_by_another_key_is_refused() -> None:
    assert _refusal(signed(rsa_key("other"), GOOD, kid="r")) is Reason.BAD_SIGNATURE
    assert _refusal(signed(ec_key("other"), GOOD, kid="e")) is Reason.BAD_SIGNATURE
    assert _refusal(signed(b"y" * 40, GOOD), algorithms=HS256) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize(
    "signature", [b"", b"\x00" * 64, b"\xff" * 64, b"\x00" * 63, b"\x30\x06\x02\x01\x00\x02\x01\x00"]
)
def test_degenerate_ecdsa_signatures_are_refused(signature: bytes) -> None:
    assert _refusal(forged({"alg": "ES256", "kid": "e"}, GOOD, signature)) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c"])
def test_keys_and_addresses_that_a_token_brings_are_not_looked_at(name: str) -> None:
    evil = public_jwk(rsa_key("evil"), kid="r")
    brought = {"jwk": evil, "x5c": ["MIIB"]}.get(name, "http://127.0.0.1:9/jwks.json")
    assert _refusal(signed(rsa_key("evil"), GOOD, kid="r", **{name: brought})) is Reason.BAD_SIGNATURE
    assert _open(signed(rsa_key("a"), GOOD, kid="r", **{name: brought})) == GOOD


@pytest.mark.parametrize(
    "extension", [{"crit": ["exp"]}, {"crit": []}, {"crit": ["b64"], "b64": False}, {"b64": True}, {"b64": False}]
)
def test_critical_extensions_are_refused(extension: dict[str, object]) -> None:
    assert _refusal(forged({"alg": "RS256", "kid": "r"} | extension, GOOD, b"x")) is Reason.MALFORMED


@pytest.mark.parametrize("kid", [7, "", "x" * 257, ["r"], {"r": 1}, True])
def test_a_kid_is_a_string_of_at_most_256_characters(kid: object) -> None:
    assert _refusal(forged({"alg": "RS256", "kid": kid}, GOOD, b"x")) is Reason.MALFORMED


@pytest.mark.parametrize(
    "kid", ["../../../../dev/null", "/etc/passwd", "r' OR 1=1 --", "r\x00", "http://x/", " r", "R"]
)
def test_a_kid_is_only_ever_compared(kid: str) -> None:
    envelope = read_envelope(bearer_token(forged({"alg": "RS256", "kid": kid}, GOOD, b"x")), PUBLIC_KEY_ALGORITHMS)
    assert envelope.kid == kid
    assert KEYS.find(kid) is None


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", 5, ""])
def test_tokens_of_other_types_are_refused(kind: object) -> None:
    assert _refusal(forged({"alg": "RS256", "kid": "r", "typ": kind}, GOOD, b"x")) is Reason.MALFORMED


def test_an_access_tokens_own_type_is_taken() -> None:
    assert _open(signed(rsa_key("a"), GOOD, kid="r", typ="at+JWT")) == GOOD


def test_names_that_come_twice_are_refused_in_header_and_payload() -> None:
    assert _refusal(forged(b'{"alg":"HS256","kid":"r","alg":"RS256"}', GOOD, b"x")) is Reason.MALFORMED
    header = {"alg": "HS256"}
    payload = b'{"sub":"a","sub":"b","exp":1}'
    unsigned = forged(header, payload, b"").removeprefix(b"Bearer ").rstrip(b".")
    token = forged(header, payload, hmac.digest(SECRET, unsigned, hashlib.sha256))
    assert _refusal(token, algorithms=HS256) is Reason.MALFORMED


@pytest.mark.parametrize(
    "payload", [b"", b"null", b"[]", b'"x"', b'{"exp": NaN}', b'{"exp": Infinity}', b"\xff\xfe", b"[" * 3000]
)
def test_a_signed_payload_that_is_no_json_object_is_malformed(payload: bytes) -> None:
    header = {"alg": "HS256"}
    unsigned = forged(header, payload, b"").removeprefix(b"Bearer ").rstrip(b".")
    token = forged(header, payload, hmac.digest(SECRET, unsigned, hashlib.sha256))
    assert _refusal(token, algorithms=HS256) is Reason.MALFORMED


def test_a_changed_bit_anywhere_is_refused() -> None:
    good = signed(ec_key("b"), GOOD, kid="e").removeprefix(b"Bearer ")
    parts = [bytearray(base64.urlsafe_b64decode(part + b"==")) for part in good.split(b".")]
    for part in parts:
        for position in range(len(part)):
            part[position] ^= 1
            assert _refusal(forged(*(bytes(one) for one in parts)), kid="e") is not Reason.MISSING
            part[position] ^= 1


@given(st.binary(max_size=300))
def test_any_header_is_refused_and_nothing_else_happens(header: bytes) -> None:
    for whole in (header, b"Bearer " + header, b"Bearer " + base64.urlsafe_b64encode(header).rstrip(b"=") + b".e30.AA"):
        with pytest.raises(Unauthenticated):
            _open(whole)


_values = (
    st.none()
    | st.booleans()
    | st.text(max_size=9)
    | st.sampled_from(["RS256", "ES256", "r", "e", "JWT"])
    | st.lists(st.text(max_size=3), max_size=2)
)


@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "zip", "cty"]), _values),
    st.binary(max_size=80),
)
def test_no_header_and_signature_made_up_open_anything(header: dict[str, object], signature: bytes) -> None:
    assert _refusal(forged(header, GOOD, signature)) is not Reason.MISSING
