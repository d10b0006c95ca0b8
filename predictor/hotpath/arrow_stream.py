"""An Arrow IPC stream of a stranger as a table that is safe to work on. PURE.

Arrow checks that a stream is well formed, and then believes it. What it does not look at is looked at here: compressed
buffers, of which a few kilobytes may unfold to gigabytes, and texts that are no UTF-8 and types that pyarrow lacks,
which show only when somebody reads them.
"""

from __future__ import annotations

import struct

import pyarrow as pa

from contract.errors import Malformed, shown
from predictor.errors import UnsupportedMedia

# Numbers of fields in Arrow's flatbuffers (Message.fbs, Arrow's columnar format 1.5).
_MESSAGE_HEADER = 2
_BATCH_COMPRESSION = 3
_DICTIONARY_DATA = 1
# Types that Arrow has and pyarrow has no array for: it raises KeyError when it meets one.
_UNREADABLE = frozenset({pa.lib.Type_INTERVAL_MONTHS, pa.lib.Type_INTERVAL_DAY_TIME})
_WITH_BUFFERS = ("record batch", "dictionary")


def read_table(body: bytes) -> pa.Table:
    """Return the table in a stream, each column in one piece.

    Raises:
        Malformed: the body is no Arrow stream.
        UnsupportedMedia: its buffers are compressed.

    """
    try:
        _refuse_compressed(body)
        with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
            table = reader.read_all().combine_chunks()
        table.validate(full=True)
        _read_names(table)
        _refuse_unreadable(table)
    except (pa.ArrowException, OSError, ValueError, struct.error) as refusal:
        raise Malformed(f"the body must be an Arrow IPC stream: {shown(str(refusal), 200)}") from refusal
    return table


def _read_names(table: pa.Table) -> None:
    """Read the texts of the schema once, as messages will; UnicodeDecodeError if one is no UTF-8."""
    _ = table.column_names
    for kind in table.schema.types:
        _ = str(kind), getattr(kind, "tz", None)


def _refuse_unreadable(table: pa.Table) -> None:
    for name, kind in zip(table.column_names, table.schema.types, strict=True):
        inner = kind
        while hasattr(inner, "value_type"):  # lists and dictionaries
            inner = inner.value_type
        if inner.id in _UNREADABLE:
            raise ValueError(f"the column {name} holds {kind}, which cannot be read")


def _refuse_compressed(body: bytes) -> None:
    for message in pa.ipc.MessageReader.open_stream(pa.py_buffer(body)):
        if message.type in _WITH_BUFFERS and _is_compressed(message.metadata.to_pybytes(), message.type):
            raise UnsupportedMedia("the Arrow stream is compressed: write it without compression")


def _is_compressed(metadata: bytes, kind: str) -> bool:
    """Tell whether a record batch, or a dictionary, has compressed buffers."""
    message: int = struct.unpack_from("<I", metadata)[0]
    batch = _referred(metadata, message, _MESSAGE_HEADER)
    if kind == "dictionary":
        batch = batch and _referred(metadata, batch, _DICTIONARY_DATA)
    return bool(batch) and _field(metadata, batch, _BATCH_COMPRESSION) != 0


def _referred(data: bytes, table: int, number: int) -> int:
    """Return where the table is that a field refers to; 0 if the field is not there."""
    field = _field(data, table, number)
    return field + int(struct.unpack_from("<I", data, field)[0]) if field else 0


def _field(data: bytes, table: int, number: int) -> int:
    """Return where a field of a flatbuffer's table is; 0 if it is not there."""
    vtable = table - int(struct.unpack_from("<i", data, table)[0])
    entry = 4 + 2 * number
    if entry >= int(struct.unpack_from("<H", data, vtable)[0]):
        return 0
    offset: int = struct.unpack_from("<H", data, vtable + entry)[0]
    return table + offset if offset else 0
