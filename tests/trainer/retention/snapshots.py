"""Snapshots of models as Hypothesis makes them, and a shorthand for those that a test writes down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from store.batch_retention import LoggedBatch
from store.objects import StoredObject
from trainer.retention.facts import Published, Registration, RunFact, Snapshot, StoredVersion, Tracked
from trainer.retention.plan import Policy
from trainer.window import Bounds

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MODEL = "default"


def days(number: float) -> timedelta:
    return timedelta(days=number)


def version_id(number: int) -> str:
    return f"20240101{number:06}"


def file(key: str, age: float, size: int = 10) -> StoredObject:
    return StoredObject(key, size, NOW - days(age))


def stored(number: int, age: float = 100, *, visible: bool = True, strays: int = 0) -> StoredVersion:
    """A version of ``age`` days with its files, and as many more that its manifest does not name."""
    prefix = f"models/{MODEL}/{version_id(number)}/"
    own = [file(f"{prefix}forest-0", age), file(f"{prefix}probe-0", age)]
    more = [file(f"{prefix}forest-{n}", age) for n in range(1, strays + 1)]
    manifest = file(f"{prefix}manifest.json", age) if visible else None
    keys = frozenset(one.key for one in own)
    published = Published(keys, f"run-{number}", str(number)) if visible and strays else None
    return StoredVersion(version_id(number), manifest, (*own, *more), published)


def registration(number: int, age: float = 100, **more: Any) -> Registration:
    values: dict[str, Any] = {"batch": f"batch-{number}", "run": f"run-{number}", "version": version_id(number)}
    return Registration(number=str(number), created=NOW - days(age), **(values | more))


def run(number: int, age: float = 100, **more: Any) -> RunFact:
    values: dict[str, Any] = {"id": f"run-{number}", "batch": f"batch-{number}", "version": version_id(number)}
    return RunFact(started=NOW - days(age), **(values | more))


def logged(number: int, age: float = 100, records: int = 10, **more: Any) -> LoggedBatch:
    values: dict[str, Any] = {"pending": False, "failed": False} | more
    key = f"batches/{MODEL}/batch-{number}.parquet"
    return LoggedBatch(f"batch-{number}", version_id(number), key, records, touched=NOW - days(age), **values)


def snapshot(**more: Any) -> Snapshot:
    return Snapshot(**({"model": MODEL, "now": NOW, "tracked": Tracked()} | more))


# Few, so that limits meet.
ages = st.sampled_from([0, 0.5, 1, 2, 3, 30, 100, 365])
_numbers = st.integers(1, 12)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    return Policy(
        grace=days(draw(st.sampled_from([0, 1, 3]))),
        batches=days(draw(ages)),
        failed_batches=days(draw(ages)),
        newest_versions=draw(st.integers(1, 5)),
        versions=days(draw(ages)),
        runs=days(draw(ages)),
        window=Bounds(draw(st.integers(1, 60)), draw(st.integers(1, 500)), draw(st.integers(1, 4))),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Any mess that crashes, people and time can leave of one model."""
    versions = [
        stored(number, draw(ages), visible=draw(st.booleans()), strays=draw(st.integers(0, 2)))
        for number in draw(st.sets(_numbers, max_size=8))
    ]
    registrations = tuple(
        registration(
            number,
            draw(ages),
            version=version_id(draw(_numbers)) if draw(st.integers(0, 9)) == 0 else version_id(number),
            aliases=draw(st.sampled_from([(), (), (), ("champion",), ("candidate", "x")])),
            keep=draw(st.integers(0, 6)) == 0,
            refused=draw(st.integers(0, 4)) == 0,
        )
        for number in draw(st.sets(_numbers, max_size=8))
    )
    runs = tuple(
        run(number, draw(ages), version=draw(st.sampled_from(["", version_id(number)])), collected=draw(st.booleans()))
        for number in draw(st.sets(_numbers, max_size=8))
    )
    pending = {f"batch-{number}": version_id(number) for number in draw(st.sets(_numbers, max_size=3))}
    return snapshot(
        versions=tuple(versions),
        pending=pending,
        served=draw(st.none() | _numbers.map(version_id)),
        asked={version_id(number): "a revision" for number in draw(st.sets(_numbers, max_size=2))},
        tracked=draw(st.sampled_from([None, Tracked(registrations, runs), Tracked(registrations, runs)])),
    )


@st.composite
def batch_logs(draw: st.DrawFn) -> list[LoggedBatch]:
    """A model's batches, newest first."""
    count = draw(st.integers(0, 30))
    made = []
    for number in range(count, 0, -1):
        state = draw(st.sampled_from(["done", "done", "done", "pending", "failed"]))
        row = logged(
            number,
            draw(ages),
            draw(st.sampled_from([1, 1, 5, 40])),
            pending=state == "pending",
            failed=state == "failed",
        )
        made.append(row)
    return made
