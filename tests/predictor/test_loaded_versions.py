"""Versions in memory: defaults that switch at once, others on demand, all within a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contract.names import manifest_key
from predictor.errors import NotLoadable, UnknownModel, UnknownVersion
from predictor.models.loaded_versions import LoadedVersions
from predictor.models.version_reader import VersionReader
from predictor.observability.metrics import Metrics
from predictor.threads import Threads
from store.errors import StoreUnavailable
from store.local_objects import LocalObjectStore
from store.model_store import ModelStore
from store.served_version import ServedVersion
from tests.predictor.forests import publish, stump_forest

V1, V2, V3 = "20240115100000", "20240115100001", "20240115100002"
FOREST = stump_forest(("a", "b"))


class Bench:
    """Loaded versions over a real model store, with a clock that the test moves."""

    def __init__(self, root: Path, threads: Threads, memory_bytes: int = 1 << 20) -> None:
        self.root = root
        self.models = ModelStore(LocalObjectStore(root))
        self.metrics = Metrics()
        self.now = 0.0
        self.loaded = LoadedVersions(
            VersionReader(self.models), threads, self.metrics, memory_bytes=memory_bytes, clock=lambda: self.now
        )

    def publish(self, version: str, model: str = "default") -> ServedVersion:
        """Publish a version and return it as one to serve."""
        manifest = publish(self.models, model, version, FOREST)
        return ServedVersion(model, version, manifest.forest.digest, datetime.now(UTC))

    async def serve(self, *served: ServedVersion) -> None:
        """Have versions served, and wait until that was tried."""
        changed = self.loaded.changes.next()
        self.loaded.want({one.model: one for one in served})
        await asyncio.wait_for(changed.wait(), 5)

    def damage(self, version: str) -> None:
        """Flip a bit in the middle of a version's forest file."""
        path = self.root / self.models.manifest("default", version).forest.key
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    def sample(self, name: str, **labels: str) -> float | None:
        """Return a metric's value."""
        return self.metrics.registry.get_sample_value(f"telltale_{name}", labels)


@pytest.fixture
def threads() -> Iterator[Threads]:
    pools = Threads()
    yield pools
    pools.close()


@pytest.fixture
def bench(tmp_path: Path, threads: Threads) -> Bench:
    return Bench(tmp_path, threads)


Story = Callable[[Bench], Coroutine[Any, Any, None]]


def play(bench: Bench, story: Story) -> None:
    """Run a story on an event loop."""

    async def whole() -> None:
        await story(bench)
        await bench.loaded.stop()

    asyncio.run(whole())


def test_a_default_is_loaded_and_switched(bench: Bench) -> None:
    """The old default stays in memory for a rollback, and the metric knows one default only."""

    async def story(bench: Bench) -> None:
        one, two = bench.publish(V1), bench.publish(V2)
        await bench.serve(one)
        assert (await bench.loaded.get("default", None)).version == V1
        await bench.serve(two)
        assert (await bench.loaded.get("default", None)).version == V2
        assert bench.loaded.versions_of("default") == [V1, V2]
        assert bench.sample("default_version", model="default", model_version=V1) is None
        assert bench.sample("default_version", model="default", model_version=V2) == 1

    play(bench, story)


def test_a_damaged_new_default_leaves_the_old_one_serving(bench: Bench) -> None:
    """The failure is told and counted; a later good default clears it."""

    async def story(bench: Bench) -> None:
        await bench.serve(bench.publish(V1))
        two = bench.publish(V2)
        bench.damage(V2)
        await bench.serve(two)
        assert (await bench.loaded.get("default", None)).version == V1
        assert "digest" in bench.loaded.failures["default"].detail
        assert bench.sample("model_load_failing", model="default") == 1
        await bench.serve(bench.publish(V3))
        assert (await bench.loaded.get("default", None)).version == V3
        assert bench.loaded.failures == {}
        assert bench.sample("model_load_failing", model="default") == 0

    play(bench, story)


def test_a_fault_of_ours_is_told_and_the_old_version_goes_on_serving(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(bench: Bench) -> None:
        await bench.serve(bench.publish(V1))
        newer = bench.publish(V2)

        def broken(*_: object) -> None:
            raise LookupError("a fault of ours")

        monkeypatch.setattr(VersionReader, "read", broken)
        await bench.serve(newer)
        serving = bench.loaded.default("default")
        assert serving is not None
        assert serving.version == V1
        assert bench.sample("model_load_failing", model="default") == 1

    play(bench, story)
    assert "a fault of ours" in caplog.text
    assert "LookupError" in caplog.text


def test_a_failed_load_is_tried_again_after_a_while_only(bench: Bench) -> None:
    """A damaged file is not read once a second for ever."""

    async def story(bench: Bench) -> None:
        one = bench.publish(V1)
        path = bench.root / bench.models.manifest("default", V1).forest.key
        whole = path.read_bytes()
        bench.damage(V1)
        await bench.serve(one)
        path.write_bytes(whole)
        bench.loaded.want({"default": one})
        assert bench.loaded.default("default") is None
        bench.now += 5
        await bench.serve(one)
        assert bench.loaded.default("default") is not None

    play(bench, story)


def test_a_default_with_another_digest_is_refused(bench: Bench) -> None:
    """The controller decided on one artefact; nothing else may answer in its name."""

    async def story(bench: Bench) -> None:
        one = bench.publish(V1)
        await bench.serve(ServedVersion(one.model, one.version, f"sha256:{'a' * 64}", one.since))
        assert bench.loaded.default("default") is None
        assert "is to be served" in bench.loaded.failures["default"].detail
        with pytest.raises(NotLoadable):
            await bench.loaded.get("default", None)

    play(bench, story)


def test_a_request_that_comes_before_its_default_is_loaded_waits_for_it(bench: Bench) -> None:
    """No 404 in the first milliseconds."""

    async def story(bench: Bench) -> None:
        one = bench.publish(V1)
        asyncio.get_running_loop().call_later(0.01, bench.loaded.want, {"default": one})
        answers = await asyncio.gather(*(bench.loaded.get("default", None) for _ in range(5)))
        assert {answer.version for answer in answers} == {V1}

    play(bench, story)


def test_what_is_served_by_default_is_not_guessed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PostgreSQL from the start only versions asked for by name are answered."""
    monkeypatch.setattr("predictor.models.loaded_versions._FIRST_READING_SECONDS", 0.01)

    async def story(bench: Bench) -> None:
        bench.publish(V1)
        with pytest.raises(StoreUnavailable):
            await bench.loaded.get("default", None)
        assert (await bench.loaded.get("default", V1)).version == V1

    play(bench, story)


def test_a_version_asked_for_is_loaded_once_for_all(bench: Bench) -> None:
    """Requests at the same time share one loading."""

    async def story(bench: Bench) -> None:
        bench.publish(V1)
        first, *others = await asyncio.gather(*(bench.loaded.get("default", V1) for _ in range(10)))
        assert all(other is first for other in others)

    play(bench, story)


def test_the_least_recently_used_versions_make_room(tmp_path: Path, threads: Threads) -> None:
    """Never a default; the series of what left are gone too."""

    async def story(bench: Bench) -> None:
        await bench.serve(bench.publish(V1))
        for version in (V2, V3):
            bench.publish(version)
            await bench.loaded.get("default", version)
            bench.metrics.versions.one("default", version, 0.1, 0.001)
        assert bench.loaded.versions_of("default") == [V1, V3]
        assert bench.sample("scored_records_total", model="default", model_version=V2) is None
        assert bench.sample("loaded_versions") == 2
        assert (await bench.loaded.get("default", V2)).version == V2
        assert bench.loaded.versions_of("default") == [V1, V2]

    play(Bench(tmp_path, threads, memory_bytes=2 * FOREST.nbytes), story)


def test_a_model_that_is_no_longer_served_has_no_default(bench: Bench) -> None:
    """Its versions can still be asked for."""

    async def story(bench: Bench) -> None:
        await bench.serve(bench.publish(V1))
        bench.loaded.want({})
        with pytest.raises(UnknownModel, match=f"name one in model_version: {V1}"):
            await bench.loaded.get("default", None)
        assert (await bench.loaded.get("default", V1)).version == V1

    play(bench, story)


def test_what_there_is_not_is_told_apart(bench: Bench) -> None:
    """No model, no version, a damaged one."""

    async def story(bench: Bench) -> None:
        bench.loaded.want({})
        with pytest.raises(UnknownModel, match="POST /ingest"):
            await bench.loaded.get("default", None)
        with pytest.raises(UnknownModel, match="no model 'vans'"):
            await bench.loaded.get("vans", V1)
        bench.publish(V1)
        with pytest.raises(UnknownVersion, match=f"it has: {V1}"):
            await bench.loaded.get("default", V2)
        bench.publish(V2)
        (bench.root / manifest_key("default", V2)).write_text("{")
        with pytest.raises(NotLoadable, match="manifest"):
            await bench.loaded.get("default", V2)
        bench.publish(V3)
        (bench.root / bench.models.manifest("default", V3).forest.key).unlink()
        with pytest.raises(NotLoadable, match="no object"):
            await bench.loaded.get("default", V3)

    play(bench, story)
