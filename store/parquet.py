"""A batch as a Parquet file: vehicle_id, timestamp (microseconds, UTC) and one column for each feature."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from contract.columns import Batch
from contract.errors import CorruptArtifact
from store.encoded_batch import EncodedBatch

_OWN = ("vehicle_id", "timestamp")


def encode_batch(batch: Batch) -> EncodedBatch:
    """Return the batch as a Parquet file, compressed with Zstandard."""
    columns = [
        _strings(batch.vehicle_ids),
        _numbers(pa.timestamp("us", tz="UTC"), batch.timestamps),
        *(_numbers(pa.float64(), batch.X[:, i]) for i in range(len(batch.feature_names))),
    ]
    table = pa.Table.from_arrays(columns, names=[*_OWN, *batch.feature_names])
    table = table.replace_schema_metadata({"telltale.model": batch.model})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return EncodedBatch(batch.model, batch.feature_names, len(batch), sink.getvalue())


# From buffers, because pyarrow.array imports pandas wherever that is installed: a second of the first request, and
# 60 MB of a predictor that has no use for it.
def _numbers(kind: pa.DataType, values: NDArray[np.float64] | NDArray[np.int64]) -> pa.Array:
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def _strings(values: Sequence[str]) -> pa.Array:
    encoded = [value.encode() for value in values]
    ends = np.cumsum([len(one) for one in encoded], dtype=np.int32)
    offsets = np.concatenate([np.zeros(1, np.int32), ends])
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))


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
