"""Scored records that wait to be written: bounded, and filled without waiting for anybody.

Lone records come from the event loop and batches from any thread. Each side counts what it puts in, and under the lock
it is counted what was taken out, so that no integer is changed by two threads at once; the loop takes no lock.
"""

from __future__ import annotations

import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from predictor.hotpath.exchange import Scored
from predictor.models.version_reader import LoadedVersion
from store.prediction_rows import PredictionRows, WireProtocol

# Up to so many features a record takes one place in the queue; a wider one takes as many as it has of these.
_PLACE = 16

# Kinds that are remembered: versions that serve, times protocols.
_MOST_KINDS = 1000


class _Kind(msgspec.Struct, eq=False, gc=False):
    """What lone records of one version and protocol have in common; like them nothing for the garbage collector."""

    model: str
    version: str
    protocol: WireProtocol
    n_features: int
    places: int
    # Features are kept as bytes, a fifth of a list's memory and numpy's own form.
    pack: Callable[..., bytes]


# Time, decision, features as float64, request id, vehicle id.
_Lone = tuple[_Kind, float, float, bytes, str, str | None]


class PredictionQueue:
    """Records on their way.

    Args:
        capacity: its places.
        now: seconds since 1970.

    """

    def __init__(self, capacity: int, *, now: Callable[[], float] = time.time) -> None:
        self._capacity = capacity
        self._now = now
        self._lone: deque[_Lone] = deque()
        self._batches: deque[PredictionRows] = deque()
        self._first_row = 0  # of the first batch, whose earlier rows were taken
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, str, WireProtocol, int], _Kind] = {}
        # Places that were ever taken: by the loop, and under the lock; and those that were given back.
        self._lone_in = self._batches_in = self._out = 0
        # Up to where the loop may count; it is always set under the lock.
        self._lone_limit = capacity
        self._lone_dropped = self._batches_dropped = 0

    @property
    def places(self) -> int:
        """Places that are taken, by what waits and by what is being written."""
        return self._lone_in + self._batches_in - self._out

    @property
    def dropped(self) -> int:
        """Records for which there was no place."""
        return self._lone_dropped + self._batches_dropped

    @property
    def records(self) -> int:
        """Records that wait."""
        with self._lock:
            return len(self._lone) + sum(map(len, self._batches)) - self._first_row

    def one(
        self,
        loaded: LoadedVersion,
        decision: float,
        values: Sequence[float],
        request_id: str,
        protocol: WireProtocol,
        vehicle_id: str | None,
    ) -> None:
        """Queue one record, or drop it; on the event loop."""
        key = (loaded.model, loaded.version, protocol, len(values))
        kind = self._kinds.get(key) or self._made(key)
        lone_in = self._lone_in + kind.places
        if lone_in > self._lone_limit:
            self._lone_dropped += 1
            return
        self._lone.append((kind, self._now(), decision, kind.pack(*values), request_id, vehicle_id))
        self._lone_in = lone_in

    def many(self, scored: Scored) -> None:
        """Queue a request's records, as many as there is room for; any thread may call it."""
        loaded, each = scored.loaded, _places(scored.X.shape[1])
        rows = PredictionRows(
            loaded.model,
            loaded.version,
            scored.protocol,
            self._now(),
            scored.decision,
            scored.X,
            scored.request_id,
            scored.vehicle_ids,
        )
        with self._lock:
            room = max(0, (self._capacity - self.places) // each)
            if room < len(rows):
                self._batches_dropped += len(rows) - room
                rows = _copied(rows.part(0, room))  # a view would hold all of the request in memory
            if len(rows):
                self._batches.append(rows)
                self._batches_in += len(rows) * each
                self._limit_lone()

    def take(self, places: int) -> list[PredictionRows]:
        """Take records of so many places out, what came alone first; one thread may do so.

        Their places are free once they are given back.
        """
        lone: dict[_Kind, list[_Lone]] = {}
        waiting = self._lone
        while waiting and places > 0:
            record = waiting.popleft()
            kind = record[0]
            places -= kind.places
            if kind in lone:
                lone[kind].append(record)
            else:
                lone[kind] = [record]
        taken = [_rows(kind, records) for kind, records in lone.items()]
        with self._lock:
            while self._batches and places > 0:
                rows = self._batches[0]
                each = _places(rows.X.shape[1])
                start, stop = self._first_row, min(self._first_row + max(1, places // each), len(rows))
                taken.append(rows.part(start, stop))
                places -= (stop - start) * each
                self._first_row = stop
                if stop == len(rows):
                    self._batches.popleft()
                    self._first_row = 0
        return taken

    def give_back(self, taken: Sequence[PredictionRows]) -> None:
        """Free the places of records that were taken."""
        with self._lock:
            self._out += sum(len(rows) * _places(rows.X.shape[1]) for rows in taken)
            self._limit_lone()

    def close(self) -> None:
        """Drop whatever comes from now on."""
        with self._lock:
            self._capacity = self._lone_limit = 0

    def _limit_lone(self) -> None:
        if self._capacity:
            self._lone_limit = self._capacity + self._out - self._batches_in

    def _made(self, key: tuple[str, str, WireProtocol, int]) -> _Kind:
        if len(self._kinds) >= _MOST_KINDS:
            self._kinds.clear()
        n_features = key[3]
        kind = _Kind(*key, places=_places(n_features), pack=struct.Struct(f"={n_features}d").pack)
        return self._kinds.setdefault(key, kind)


def _places(n_features: int) -> int:
    return (n_features + _PLACE - 1) // _PLACE


def _rows(kind: _Kind, records: Sequence[_Lone]) -> PredictionRows:
    """Return lone records of one kind as rows."""
    _, at, decision, features, request_ids, vehicle_ids = zip(*records, strict=True)
    return PredictionRows(
        kind.model,
        kind.version,
        kind.protocol,
        np.array(at),
        np.array(decision),
        np.frombuffer(b"".join(features)).reshape(-1, kind.n_features),
        request_ids,
        vehicle_ids,
    )


def _copied(rows: PredictionRows) -> PredictionRows:
    return replace(rows, X=rows.X.copy(), decision=rows.decision.copy())
