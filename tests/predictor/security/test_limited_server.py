"""The rate limit on a whole server, by every way in, alone and with another replica."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from tests.predictor.security.guarded import OPEN_PATHS, OTHERS, RECORD, SCORE_BY, Guarded, bearer, guarded

# So slow that nothing comes back while a test runs.
RATE, BURST = 0.01, 20
ORIGIN = "https://fleet.example"
Until = Callable[[Callable[[], bool]], None]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A server that limits subjects, and answers the pages of one origin."""
    folder = tmp_path_factory.mktemp("objects")
    with guarded(folder, rate_limit=RATE, rate_limit_burst=BURST, cors_origins=ORIGIN) as started:
        yield started


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A server that limits addresses, because it knows nobody."""
    folder = tmp_path_factory.mktemp("objects")
    with guarded(folder, auth_secret=None, rate_limit=RATE, rate_limit_burst=BURST) as started:
        yield started


@pytest.mark.parametrize("way", SCORE_BY)
def test_each_subject_has_its_burst_and_no_more_by_every_way(server: Guarded, way: str) -> None:
    token, score = bearer(subject=f"busy by {way}"), SCORE_BY[way]
    told = [score(server, token) for _ in range(BURST + 1)]
    assert [one.status for one in told] == [200] * BURST + [429]
    assert [one.headers["ratelimit"] for one in told[:2]] == [
        f'"default";r={BURST - 1};t=100',
        f'"default";r={BURST - 2};t=200',
    ]
    last = told[-1].headers
    assert last["ratelimit-policy"] == f'"default";q={BURST};w=2000'
    assert last["ratelimit"] == '"default";r=0;t=100'
    assert last["retry-after"] == "100"
    assert "wait 100 s" in told[-1].text
    assert score(server, bearer(subject=f"idle by {way}")).status == 200


def test_a_refusal_over_http_is_a_problem_document(server: Guarded) -> None:
    token = bearer(subject="documented")
    told = [SCORE_BY["json"](server, token) for _ in range(BURST + 1)][-1]
    document = json.loads(told.text)
    assert told.headers["content-type"] == "application/problem+json"
    assert (document["type"], document["status"]) == ("urn:telltale:problem:rate-limited", 429)
    assert document["request_id"] == told.headers["x-request-id"]


def test_all_ways_share_one_quota_and_reading_about_models_takes_from_it_too(server: Guarded) -> None:
    token = bearer(subject="everywhere")
    ways = [*SCORE_BY.values(), *(ask for _, ask in OTHERS.values())]
    told = [ask(server, token).status for ask in (ways * 2)[: BURST + 3]]
    assert 429 not in told[:BURST]
    assert told[BURST:] == [429] * 3


def test_requests_that_are_refused_for_what_they_say_count_and_are_told_what_is_left(server: Guarded) -> None:
    token = bearer(subject="careless")
    for left in (19, 18):
        told = server.http("POST", "/score", b"{", authorization=token, content_type="application/json")
        assert (told.status, told.headers["ratelimit"].split(";")[1]) == (400, f"r={left}")
    told = server.grpc("ModelInfer", pb.ModelInferRequest(model_name="default"), authorization=token)
    assert (told.status, told.headers["ratelimit"].split(";")[1]) == (400, "r=17")


def test_tokens_that_are_refused_take_nothing_from_their_subject(server: Guarded) -> None:
    for _ in range(BURST + 5):
        assert SCORE_BY["json"](server, bearer(subject="impersonated", secret=b"z" * 40)).status == 401
        assert SCORE_BY["json"](server, bearer("models:read", subject="impersonated")).status == 403
    told = SCORE_BY["json"](server, bearer(subject="impersonated"))
    assert f"r={BURST - 1}" in told.headers["ratelimit"]


def test_probes_and_scrapers_are_not_limited(server: Guarded) -> None:
    for path in OPEN_PATHS:
        for _ in range(BURST + 2):
            assert server.http("GET", path).status == 200


def test_refusals_are_counted(server: Guarded) -> None:
    before = server.metric("telltale_rate_limited_total")
    token = bearer(subject="counted")
    for way in ("json", "v2 json", "v2 grpc"):
        for _ in range(BURST):
            SCORE_BY[way](server, token)
    assert server.metric("telltale_rate_limited_total") - before == 2 * BURST


@pytest.mark.parametrize("way", ["json", "json array", "v2 json", "v2 binary"])
def test_a_page_of_an_allowed_origin_reads_the_quota_whether_its_token_is_new_or_known(
    server: Guarded, way: str
) -> None:
    token = bearer(subject=f"page by {way}")
    for left in (19, 18):
        server.running.client.headers["origin"] = ORIGIN
        told = SCORE_BY[way](server, token)
        del server.running.client.headers["origin"]
        assert told.headers["access-control-allow-origin"] == ORIGIN
        assert f"r={left}" in told.headers["ratelimit"]
        assert told.headers["vary"] == "origin"


@pytest.mark.parametrize("path", ["/score", "/ingest", "/v2/models/default/infer", "/models", "/health"])
def test_a_browser_that_asks_first_is_answered_without_a_token_and_for_nothing(server: Guarded, path: str) -> None:
    for origin, allowed in ((ORIGIN, ORIGIN), ("https://evil.example", None)):
        told = server.http("OPTIONS", path, origin=origin, access_control_request_method="POST")
        assert told.status == 204
        assert told.headers.get("access-control-allow-origin") == allowed
        assert "ratelimit" not in told.headers
        assert "content-length" not in told.headers
    assert server.http("OPTIONS", path).status in (401, 405)


def test_by_default_no_page_of_another_origin_may_ask(open_server: Guarded) -> None:
    asked = open_server.http("OPTIONS", "/health", origin=ORIGIN, access_control_request_method="GET")
    told = open_server.http("GET", "/health", origin=ORIGIN)
    assert (asked.status, told.status) == (405, 200)
    assert not [name for name in (*asked.headers, *told.headers) if name.startswith("access-control-")]


def test_where_nobody_is_known_each_address_has_its_quota_over_all_protocols(open_server: Guarded) -> None:
    ways = [*SCORE_BY.values()] * 3
    told = [ask(open_server, None).status for ask in ways[: BURST + 1]]
    assert told == [200] * BURST + [429]
    # What a client says about itself does not make it another.
    for headers in ({"x-forwarded-for": "10.1.2.3"}, {"forwarded": "for=10.1.2.3"}, {"authorization": bearer()}):
        assert open_server.http("GET", "/models", **headers).status == 429
    from_another_address = httpx.HTTPTransport(local_address="127.0.0.9")
    base = f"http://127.0.0.1:{open_server.running.port}"
    with httpx.Client(base_url=base, transport=from_another_address) as other:
        assert other.post("/score", json=RECORD).status_code == 200


@pytest.mark.integration
def test_replicas_lease_from_the_same_quota(database_url: str, tmp_path: Path, until: Until) -> None:
    """How right they are together is another test's; here it is the whole server that leases."""
    limits = {"rate_limit": RATE, "rate_limit_burst": 40, "database_url": database_url}
    token, admitted = bearer(subject="shared"), []

    def ask(replica: Guarded) -> int:
        status = SCORE_BY["json"](replica, token).status
        admitted.append(status == 200)
        return status

    def is_used_up() -> bool:
        with psycopg.connect(database_url) as connection:
            rows = connection.execute("SELECT tokens FROM telltale.quota_buckets").fetchall()
        return rows != [] and rows[0][0] < 1

    with guarded(tmp_path / "a", **limits) as one, guarded(tmp_path / "b", **limits) as other:
        until(lambda: ask(one) == 429 and sum(admitted) == 40 and is_used_up())
        until(lambda: ask(other) == 429 and other.metric("telltale_quota_leases_total") > 0)
        assert sum(admitted) <= 40 + 10, "a few pass before the first settlement"
        assert other.metric("telltale_quota_store_up") == 1
