"""The requests over HTTP that keep their connection: those that the express lane answers, and all the others. PURE."""

from __future__ import annotations

from soak import bodies
from soak.kinds import NUMBER, TOKEN_MARK, Kind, chunked, document, http
from soak.subject import MODEL, OLDER, VANS, VANS_VERSIONS, VERSION
from soak.tokens import Tokens

# Replaced by the token of one of the many subjects, when a block is put together.
GOOD = "%GOOD%"
MAX_BODY_BYTES = 128 * 1024
MAX_RECORDS = 300
LIMIT_PER_SECOND, BURST = 1000, 250
_V2 = f"/v2/models/{MODEL}"
_THIS, _OLDER = f"{_V2}/versions/{VERSION}", f"{_V2}/versions/{OLDER}"
_NUMBER = NUMBER.decode()
_JSON = {"Content-Type": "application/json"}
_BINARY, _BINARY_HEADERS = bodies.v2_binary()


def hot_kinds(tokens: Tokens) -> list[Kind]:
    """Return what is answered where it was parsed: small requests of hot routes, good or refused at once."""
    score = document(bodies.record())
    traced = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
    return [
        Kind("/score", http("POST", "/score", score, token=GOOD), 200, 50, rows=1),
        Kind("/score by names", http("POST", "/score", document(bodies.by_name()), token=GOOD), 200, 10, rows=1),
        _score("/score, older version", 5, model_version=OLDER),
        _score("/score, its own request id", 3, headers={"X-Request-Id": f"mine-{_NUMBER}"}),
        _score("/score, traced elsewhere", 2, headers=traced),
        Kind("V2 JSON", http("POST", f"{_V2}/infer", bodies.v2(), token=GOOD), 200, 20, rows=1),
        Kind("V2 JSON, 5 rows", http("POST", f"{_V2}/infer", bodies.v2(5), token=GOOD), 200, 2, rows=5),
        Kind("V2 JSON, version", http("POST", f"{_THIS}/infer", bodies.v2(), token=GOOD), 200, 3, rows=1),
        Kind("V2 binary", http("POST", f"{_V2}/infer", _BINARY, token=GOOD, headers=_BINARY_HEADERS), 200, 3, rows=1),
        Kind("V2, wrong shape", http("POST", f"{_V2}/infer", bodies.v2(shape=[1, 7]), token=GOOD), 400, 1),
        Kind("token without the scope", http("POST", "/score", score, token=tokens.forbidden), 403, 1),
    ]


def greedy_kind(tokens: Tokens) -> Kind:
    """Return the request of the subject that asks too often: 200 or 429."""
    return Kind("/score, greedy", http("POST", "/score", document(bodies.record()), token=tokens.greedy), 200, rows=1)


def mixed_kinds(tokens: Tokens) -> list[Kind]:
    """Return every other kind, and some of the hot ones, which go the ordinary way among these."""
    return [*_good(tokens), *_reads(), *_bad_bodies(), *_not_there(), *_bad_tokens(tokens)]


def _score(name: str, weight: float, *, headers: dict[str, str] | None = None, **changes: object) -> Kind:
    body = document(bodies.record(**changes))
    return Kind(name, http("POST", "/score", body, token=GOOD, headers=headers), 200, weight, rows=1)


def _good(tokens: Tokens) -> list[Kind]:
    new = (TOKEN_MARK * tokens.fresh_length).decode()
    score = document(bodies.record())
    ndjson = {"Content-Type": "application/x-ndjson"}
    arrow = {"Content-Type": "application/vnd.apache.arrow.stream"}
    chunks = {**_JSON, "Transfer-Encoding": "chunked"}
    vans = [
        _score(f"/score, {VANS} {version[:8]}", 0.05, model=VANS, model_version=version) for version in VANS_VERSIONS
    ]
    return [
        Kind("/score, among others", http("POST", "/score", score, token=GOOD), 200, 30, rows=1),
        Kind("V2 JSON, among others", http("POST", f"{_V2}/infer", bodies.v2(), token=GOOD), 200, 10, rows=1),
        Kind("new subject", http("POST", "/score", score, token=new), 200, 1.5, rows=1),
        Kind("/score chunked", http("POST", "/score", chunked(score, 40), token=GOOD, headers=chunks), 200, 4, rows=1),
        Kind("array of 3", http("POST", "/score", bodies.array(3), token=GOOD), 200, 8, rows=3),
        Kind("array of 200", http("POST", "/score", bodies.array(200), token=GOOD), 200, 0.05, rows=200),
        Kind("NDJSON of 3", http("POST", "/score", bodies.lines(3), token=GOOD, headers=ndjson), 200, 3, rows=3),
        Kind("Arrow of 3", http("POST", "/score", bodies.arrow(3), token=GOOD, headers=arrow), 200, 0.3, rows=3),
        Kind("V2 binary of 300", _v2_binary(300), 200, 0.1, rows=300),
        Kind("V1", http("POST", f"/v1/models/{MODEL}:predict", bodies.v1(2), token=GOOD), 200, 1.5, rows=2),
        *vans,
    ]


def _v2_binary(rows: int) -> bytes:
    body, headers = bodies.v2_binary(rows)
    return http("POST", f"{_V2}/infer", body, token=GOOD, headers=headers)


def _reads() -> list[Kind]:
    often = ("/health/ready", "/healthz", "/v2/health/live", "/v2/health/ready")
    seldom = ("/models", "/health", "/v2", "/v2/models", _V2, f"{_V2}/ready", "/v1/models", f"/v1/models/{MODEL}")
    rarely = (f"/models/{MODEL}/versions", _OLDER, f"{_OLDER}/ready")
    paths: dict[str, float] = dict.fromkeys(often, 2) | dict.fromkeys(seldom, 0.3) | dict.fromkeys(rarely, 0.1)
    paths["/metrics"] = 0.01  # takes milliseconds
    index = Kind("POST /v2/repository/index", http("POST", "/v2/repository/index", b"{}", token=GOOD), 200, 0.1)
    return [index, *(Kind(f"GET {path}", http("GET", path, token=GOOD), 200, often) for path, often in paths.items())]


def _bad_bodies() -> list[Kind]:
    short = {"feature_vector": [1.0, 2.0]}
    nan = document(bodies.record()).replace(b'"feature_vector":[-1', b'"feature_vector":[NaN')
    deep = b'{"features":' * 5000 + b"1" + b"}" * 5000
    binary_nan, nan_headers = bodies.v2_binary(value=float("nan"))
    text = {"Content-Type": "text/plain"}
    return [
        Kind("no JSON", http("POST", "/score", b'{"vehicle_id": ', token=GOOD), 400, 3),
        Kind("NaN", http("POST", "/score", nan, token=GOOD), 400, 2),
        Kind("too deep", http("POST", "/score", deep, token=GOOD), 400, 0.1),
        Kind("too few features", http("POST", "/score", document(bodies.record(**short)), token=GOOD), 422, 3),
        Kind("an unknown field", http("POST", "/score", document(bodies.record(colour="red")), token=GOOD), 422, 1),
        Kind("too many records", http("POST", "/score", bodies.array(MAX_RECORDS + 1), token=GOOD), 422, 0.1),
        Kind("no kind of body", http("POST", "/score", b"vehicle", token=GOOD, headers=text), 415, 1),
        Kind("V2, no JSON", http("POST", f"{_V2}/infer", b"{", token=GOOD), 400, 1),
        Kind("V2, too deep", http("POST", f"{_V2}/infer", b"[" * 9000, token=GOOD), 400, 0.5),
        Kind("V2 binary, NaN", http("POST", f"{_V2}/infer", binary_nan, token=GOOD, headers=nan_headers), 400, 1),
        Kind("V2 JSON, NaN", http("POST", f"{_V2}/infer", bodies.v2(data=["NaN"] * 8), token=GOOD), 400, 1),
        Kind("V1, no instances", http("POST", f"/v1/models/{MODEL}:predict", b"{}", token=GOOD), 400, 1),
        Kind("a bad batch", http("POST", "/ingest", document({"records": [short]}), token=GOOD), 422, 0.1),
    ]


def _not_there() -> list[Kind]:
    unknown_model = document(bodies.record(model=f"m-{_NUMBER}"))
    unknown_version = document(bodies.record(model_version=f"20{_NUMBER}"))
    elsewhere = f"/v2/models/m-{_NUMBER}"
    return [
        Kind("unknown model", http("POST", "/score", unknown_model, token=GOOD), 404, 1),
        Kind("unknown version", http("POST", "/score", unknown_version, token=GOOD), 404, 1),
        Kind("V2, unknown model", http("POST", f"{elsewhere}/infer", bodies.v2(), token=GOOD), 404, 1),
        Kind(
            "V2, unknown version", http("POST", f"{_V2}/versions/20{_NUMBER}/infer", bodies.v2(), token=GOOD), 404, 0.3
        ),
        Kind("unknown metadata", http("GET", elsewhere, token=GOOD), 404, 0.3),
        Kind("unknown path", http("GET", f"/nowhere/{_NUMBER}", token=GOOD), 404, 2),
        Kind("V2, unknown path", http("GET", f"/v2/nowhere/{_NUMBER}", token=GOOD), 404, 1),
        Kind("unknown job", http("GET", f"/ingest/{_NUMBER}", token=GOOD), 404, 0.1),
        Kind("wrong method", http("GET", "/score", token=GOOD), 405, 1),
        Kind("V2, wrong method", http("DELETE", f"{_V2}/infer", token=GOOD), 405, 1),
        Kind("a preflight", http("OPTIONS", "/score", headers={"Origin": "https://elsewhere.example"}), 401, 0.5),
        Kind("load a model", http("POST", f"/v2/repository/models/{MODEL}/load", b"{}", token=GOOD), 400, 0.3),
    ]


def _bad_tokens(tokens: Tokens) -> list[Kind]:
    score = document(bodies.record())
    head, claims, _ = tokens.greedy.split(".")
    given = {
        "expired token": (tokens.expired, 2),
        "forged token": (f"{head}.{claims}.{_NUMBER * 3}AAAAAAA", 1),
        "unsigned token": (tokens.unsigned, 0.5),
        "token for others": (tokens.wrong_audience, 0.5),
        "no token at all": (f"gibberish{_NUMBER}", 1),
    }
    refused = [Kind(n, http("POST", "/score", score, token=token), 401, often) for n, (token, often) in given.items()]
    return [
        *refused,
        Kind("no token", http("POST", "/score", score), 401, 2),
        Kind("V2, no token", http("POST", f"{_V2}/infer", bodies.v2()), 401, 1),
    ]
