"""A batch as a Parquet file: vehicle_id, timestamp (microseconds, UTC) and one column for each feature."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from contract.errors import CorruptArtifact
from contract.telemetry import Batch

_OWN = ("vehicle_id", "timestamp")


def encode_batch(batch: Batch) -> bytes:
    """Return the batch as a Parquet file, compressed with Zstandard."""
    columns = {
        "vehicle_id": pa.array(batch.vehicle_ids, pa.string()),
        "timestamp": pa.array(batch.timestamps, pa.timestamp("us", tz="UTC")),
    }
    columns |= {name: pa.array(batch.X[:, i]) for i, name in enumerate(batch.feature_names)}
    table = pa.table(columns, metadata={"telltale.model": batch.model})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def decode_batch(data: bytes) -> Batch:
    """Return the batch in a Parquet file; CorruptArtifact if it is not one of ours."""
    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as refusal:
        raise CorruptArtifact(f"the batch is not readable as Parquet: {refusal}") from refusal
    names = tuple(name for name in table.column_names if name not in _OWN)
    if len(names) + len(_OWN) != table.num_columns or not names:
        raise CorruptArtifact(f"the batch has the columns {table.column_names}")
    X = np.column_stack([table.column(name).to_numpy() for name in names]).astype(np.float64, copy=False)
    stamps = table.column("timestamp").cast(pa.int64()).to_numpy()
    model = (table.schema.metadata or {}).get(b"telltale.model", b"").decode()
    return Batch(model, names, table.column("vehicle_id").to_pylist(), stamps, np.ascontiguousarray(X))
