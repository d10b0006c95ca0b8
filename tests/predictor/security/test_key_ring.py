"""The ring against a real HTTP server, with a clock that the tests set."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

import pytest

from predictor.security.errors import KeysUnavailable, Reason, Unauthenticated
from predictor.security.key_ring import KeyRing, KeyRingConfig
from predictor.security.key_source import key_source
from tests.predictor.security.issuers import KeyServer, ec_key, key_set, rsa_key, serving
from tests.predictor.security.recorded_events import RecordedEvents


class Clock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with serving(key_set(old=rsa_key("old"), other=ec_key("other"))) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def events() -> RecordedEvents:
    return RecordedEvents()


def _ring(server: KeyServer, clock: Callable[[], float], events: RecordedEvents, **config: float) -> KeyRing:
    return KeyRing(key_source(server.url, timeout=2), KeyRingConfig(**config), clock=clock, events=events)


async def _reason(ring: KeyRing, kid: str | None) -> Reason:
    with pytest.raises((Unauthenticated, KeysUnavailable)) as refusal:
        await ring.look_up(kid)
    return refusal.value.reason


def test_keys_are_read_once_at_the_start(server: KeyServer, clock: Clock, events: RecordedEvents) -> None:
    async def run() -> None:
        ring = _ring(server, clock, events)
        assert not ring.is_known
        await ring.start()
        assert ring.is_known
        for _ in range(3):
            assert (await ring.look_up("old")).algorithm == "RS256"
            assert (await ring.look_up("other")).algorithm == "ES256"
        await ring.stop()

    asyncio.run(run())
    assert server.requests == 1
    assert events.fetched == [2]


def test_a_token_must_name_a_key_when_there_are_several(
    server: KeyServer, clock: Clock, events: RecordedEvents
) -> None:
    async def run() -> None:
        ring = _ring(server, clock, events)
        assert (await ring.look_up("old")).kid == "old"
        assert await _reason(ring, None) is Reason.UNKNOWN_KEY
        clock.now += 5
        server.document = key_set(only=rsa_key("old"))
        assert (await ring.look_up("only")) == (await ring.look_up(None))
        await ring.stop()

    asyncio.run(run())


def test_a_flood_of_unknown_keys_reads_the_set_once_in_each_interval(
    server: KeyServer, clock: Clock, events: RecordedEvents
) -> None:
    async def run() -> None:
        ring = _ring(server, clock, events, refetch_seconds=5)
        await ring.look_up("old")
        for round_ in range(1, 4):
            clock.now += 5
            reasons = await asyncio.gather(*(_reason(ring, f"{round_}-{i}") for i in range(200)))
            reasons += [await _reason(ring, f"{round_}+{i}") for i in range(200)]
            assert set(reasons) == {Reason.UNKNOWN_KEY}
            clock.now += 4.999
            assert await _reason(ring, "again") is Reason.UNKNOWN_KEY
            assert server.requests == 1 + round_
        await ring.stop()

    asyncio.run(run())


def test_a_new_key_is_found_as_soon_as_the_interval_allows(
    server: KeyServer, clock: Clock, events: RecordedEvents
) -> None:
    async def run() -> None:
        ring = _ring(server, clock, events)
        await ring.look_up("old")
        server.document = key_set(old=rsa_key("old"), new=rsa_key("new"))
        clock.now += 4.9
        assert await _reason(ring, "new") is Reason.UNKNOWN_KEY
        clock.now += 0.1
        assert (await ring.look_up("new")).kid == "new"
        await ring.stop()

    asyncio.run(run())


def test_requests_that_wait_for_the_same_read_share_it_and_survive_one_that_gives_up(
    server: KeyServer, clock: Clock, events: RecordedEvents, until_async: Callable[..., object]
) -> None:
    async def run() -> None:
        ring = _ring(server, clock, events)
        server.hold.clear()
        waiting = [asyncio.create_task(ring.look_up("old")) for _ in range(50)]
        await until_async(lambda: server.requests == 1)
        waiting[0].cancel()
        server.hold.set()
        keys = await asyncio.gather(*waiting[1:])
        assert {key.kid for key in keys} == {"old"}
        await ring.stop()

    asyncio.run(run())
    assert server.requests == 1


def test_keys_that_vanished_are_gone_at_the_next_read_and_the_change_is_told(
    server: KeyServer, clock: Clock, events: RecordedEvents
) -> None:
    async def run() -> None:
        ring = _ring(server, clock, events)
        changes: list[set[str | None]] = []
        ring.on_change(lambda: changes.append({key.kid for key in ring.trusted()}))
        await ring.look_up("old")
        server.document = key_set(new=rsa_key("new"))
        clock.now += 5
        await ring.look_up("new")
        assert await _reason(ring, "old") is Reason.UNKNOWN_KEY
        assert changes == [{"old", "other"}, {"new"}]
        await ring.stop()

    asyncio.run(run())


def test_other_key_material_under_the_same_id_is_another_key(
    server: KeyServer, clock: Clock, events: RecordedEvents
) -> None:
    async def run() -> None:
        ring = _ring(server, clock, events)
        before = await ring.look_up("old")
        server.document = key_set(old=rsa_key("new"))
        clock.now += 5
        await _reason(ring, "unknown")
        assert await ring.look_up("old") != before
        assert before not in ring.trusted()
        await ring.stop()

    asyncio.run(run())


def test_keys_stay_in_use_while_their_issuer_is_away_until_they_are_too_old(
    server: KeyServer, clock: Clock, events: RecordedEvents
) -> None:
    async def run() -> None:
        ring = _ring(server, clock, events, max_stale_seconds=3600)
        key = await ring.look_up("old")
        server.status = 503
        clock.now += 3600
        assert await _reason(ring, "new") is Reason.KEYS_UNAVAILABLE  # it may well exist by now
        assert await ring.look_up("old") is key
        assert ring.age_seconds == 3600
        clock.now += 1
        assert await _reason(ring, "old") is Reason.KEYS_UNAVAILABLE
        assert ring.trusted() == frozenset()
        server.status = 200
        clock.now += 5
        assert await ring.look_up("old") == key
        await ring.stop()

    asyncio.run(run())
    assert events.failed == 1
    assert events.fetched == [2, 2]


def test_a_broken_key_set_leaves_the_keys_alone(server: KeyServer, clock: Clock, events: RecordedEvents) -> None:
    async def run() -> None:
        ring = _ring(server, clock, events)
        key = await ring.look_up("old")
        for document in (b"<html>", b'{"keys": []}', b"x" * 2**20 + b"x"):
            server.document = document
            clock.now += 5
            assert await _reason(ring, "new") is Reason.KEYS_UNAVAILABLE
            assert await ring.look_up("old") is key
        await ring.stop()

    asyncio.run(run())
    assert events.failed == 3


def test_without_any_key_tokens_cannot_be_judged(clock: Clock, events: RecordedEvents) -> None:
    async def run() -> None:
        with serving(b"") as server:
            ring = _ring(server, clock, events)
            await ring.start()
            assert await _reason(ring, "any") is Reason.KEYS_UNAVAILABLE
            assert await _reason(ring, None) is Reason.KEYS_UNAVAILABLE
            await ring.stop()
            assert server.requests == 1

    asyncio.run(run())


def test_the_set_is_read_again_by_itself_and_sooner_after_a_failure(
    server: KeyServer, events: RecordedEvents, until_async: Callable[..., object]
) -> None:
    async def run() -> None:
        ring = KeyRing(key_source(server.url), KeyRingConfig(refresh_seconds=0.05, refetch_seconds=0.01), events=events)
        await ring.start()
        server.document = key_set(new=rsa_key("new"))
        await until_async(lambda: {key.kid for key in ring.trusted()} == {"new"})
        server.status = 500
        await until_async(lambda: events.failed >= 2)
        server.status = 200
        server.document = key_set(newest=rsa_key("new"))
        await until_async(lambda: {key.kid for key in ring.trusted()} == {"newest"})
        await ring.stop()

    asyncio.run(run())


def test_an_outage_is_logged_once(
    server: KeyServer, clock: Clock, events: RecordedEvents, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        ring = _ring(server, clock, events)
        server.status = 500
        for _ in range(5):
            await _reason(ring, "old")
            clock.now += 5
        server.status = 200
        await ring.look_up("old")
        await ring.stop()

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    messages = [record.getMessage() for record in caplog.records if "predictor.security" in record.name]
    assert [m for m in messages if "cannot be read" in m] == [messages[0]]
    assert any("can be read again" in m for m in messages)


def test_a_flood_while_the_issuer_is_away_asks_it_no_more_often_and_known_keys_verify_all_along(
    server: KeyServer, clock: Clock, events: RecordedEvents
) -> None:
    async def run() -> None:
        ring = _ring(server, clock, events, refetch_seconds=5)
        await ring.look_up("old")
        server.status = 503
        for round_ in range(1, 4):
            clock.now += 5
            reasons = await asyncio.gather(*(_reason(ring, f"{round_}-{i}") for i in range(200)))
            reasons += [await _reason(ring, f"{round_}+{i}") for i in range(200)]
            assert set(reasons) == {Reason.KEYS_UNAVAILABLE}
            assert server.requests == 1 + round_
            assert (await ring.look_up("old")).kid == "old"
        await ring.stop()

    asyncio.run(run())
    assert events.failed == 3


def test_while_the_issuer_hangs_known_keys_are_not_waited_for_and_unknown_ones_only_for_a_while(
    server: KeyServer, clock: Clock, events: RecordedEvents, until_async: Callable[..., object]
) -> None:
    async def run() -> None:
        ring = _ring(server, clock, events, wait_seconds=0.2)
        await ring.look_up("old")
        server.hold.clear()
        clock.now += 5
        unknown = [asyncio.create_task(_reason(ring, f"unknown-{i}")) for i in range(50)]
        await until_async(lambda: server.requests == 2)
        assert (await asyncio.wait_for(ring.look_up("old"), 0.1)).kid == "old"
        assert set(await asyncio.gather(*unknown)) == {Reason.KEYS_UNAVAILABLE}
        clock.now += 60
        assert await _reason(ring, "later") is Reason.KEYS_UNAVAILABLE
        assert server.requests == 2, "one read at a time"
        server.hold.set()
        await ring.stop()

    asyncio.run(run())
