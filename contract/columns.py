"""Checked records as columns: what a batch is stored as and what is scored. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from contract import diagnosis
from contract.errors import Fault, InvalidInput, shown
from contract.telemetry import LARGEST_VALUE, RESERVED_FEATURES, IngestBody, Limits, Record


@dataclass(frozen=True)
class Batch:
    """Records as columns.

    Args:
        model: the model they train.
        feature_names: the columns of ``X``, in order.
        vehicle_ids: one for each row.
        timestamps: int64 microseconds since 1970-01-01T00:00:00Z, one for each row.
        X: float64, shape ``(n_records, n_features)``, finite and within float32's range.

    """

    model: str
    feature_names: tuple[str, ...]
    vehicle_ids: Sequence[str]
    timestamps: NDArray[np.int64]
    X: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.vehicle_ids)


def signature_of(record: Record, limits: Limits) -> tuple[str, ...]:
    """Return the feature names that a model's first record defines: its own, or f0, f1, … by position."""
    if record.features is None:
        names = tuple(f"f{position}" for position in range(len(record.feature_vector or ())))
    else:
        names = tuple(record.features)
    if not 1 <= len(names) <= limits.features:
        detail = f"a record must have 1 to {limits.features} features; got {len(names)}"
        raise InvalidInput([Fault("/records/0", detail, str(len(names)), str(limits.features))])
    for name in names:
        if name in RESERVED_FEATURES:
            detail = f"a feature cannot be called {name}: that is a record's own field; rename it"
            raise InvalidInput([Fault(f"/records/0/features/{name}", detail, name)])
        if not (0 < len(name) <= limits.id_characters and name.isprintable()):
            detail = f"a feature's name must have 1 to {limits.id_characters} printable characters"
            raise InvalidInput([Fault("/records/0/features", detail, shown(ascii(name)))])
    return names


def to_matrix(
    records: Sequence[Record], feature_names: tuple[str, ...], pointers: Sequence[str], *, model: str
) -> NDArray[np.float64]:
    """Put the records' values into the order of ``feature_names``.

    Args:
        records: the records, checked by :func:`check_records`.
        feature_names: the model's signature.
        pointers: where each record stands in the request, for errors.
        model: the model's name, for errors.

    Returns:
        float64, shape ``(len(records), len(feature_names))``.

    Raises:
        InvalidInput: features are missing, extra, too many or too few, or out of float32's range.

    """
    width = len(feature_names)
    rows: list[list[float]] = []
    faults: list[Fault] = []
    more = 0
    for record, pointer in zip(records, pointers, strict=True):
        row = _row(record, feature_names)
        if row is not None and len(row) == width:
            rows.append(row)
        elif len(faults) < diagnosis.FAULTS_SHOWN:
            faults.append(_feature_fault(record, feature_names, pointer, model))
        else:
            more += 1
    if faults:
        raise InvalidInput(faults, more=more)
    X = np.array(rows, dtype=np.float64).reshape(len(rows), width)
    beyond = np.argwhere(~(np.abs(X) <= LARGEST_VALUE))
    if len(beyond):
        named = [_range_fault(records[i], pointers[i], feature_names[j], j, X[i, j]) for i, j in beyond[:10]]
        raise InvalidInput(named, more=len(beyond) - len(named))
    return X


def _row(record: Record, feature_names: tuple[str, ...]) -> list[float] | None:
    if record.feature_vector is not None:
        return record.feature_vector
    features = record.features or {}
    if len(features) != len(feature_names):
        return None
    try:
        return [features[name] for name in feature_names]
    except KeyError:
        return None


def _feature_fault(record: Record, feature_names: tuple[str, ...], pointer: str, model: str) -> Fault:
    signature = shown(", ".join(feature_names), 400)
    if record.feature_vector is not None:
        detail = f"model {model!r} expects {len(feature_names)} values ({signature}); got {len(record.feature_vector)}"
        got = str(len(record.feature_vector))
        return Fault(f"{pointer}/feature_vector", detail, got, str(len(feature_names)))
    came = record.features or {}
    missing = [name for name in feature_names if name not in came]
    extra = [name for name in came if name not in set(feature_names)]
    parts = [f"missing {shown(', '.join(missing), 200)}"] * bool(missing)
    parts += [f"not in the model: {shown(', '.join(extra), 200)}"] * bool(extra)
    detail = f"model {model!r} has the features {signature}; got {shown(', '.join(came), 400)}: {'; '.join(parts)}"
    return Fault(f"{pointer}/features", detail, shown(", ".join(came)), signature)


def _range_fault(record: Record, pointer: str, name: str, position: int, value: float) -> Fault:
    place = f"feature_vector/{position}" if record.features is None else f"features/{diagnosis.escaped(name)}"
    detail = f"{name} must be finite and within ±{LARGEST_VALUE:.7g} (float32); got {value:g}"
    return Fault(f"{pointer}/{place}", detail, f"{value:g}", f"{LARGEST_VALUE:.7g}")


def to_batch(request: IngestBody, feature_names: tuple[str, ...]) -> Batch:
    """Return a checked request as columns, in the order of ``feature_names``.

    Raises:
        InvalidInput: as :func:`to_matrix`.

    """
    pointers = [f"/records/{index}" for index in range(len(request.records))]
    X = to_matrix(request.records, feature_names, pointers, model=request.model)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    stamps = np.array([(record.timestamp - epoch) // tick for record in request.records], dtype=np.int64)
    ids = [record.vehicle_id for record in request.records]
    return Batch(request.model, feature_names, ids, stamps, X)
