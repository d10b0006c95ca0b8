"""From the body of ``POST /ingest`` to a Parquet file, the one costly step of taking a batch in. PURE."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from contract.columns import signature_of, to_batch
from contract.names import DEFAULT_MODEL
from contract.telemetry import Limits, decode_ingest
from store.encoded_batch import EncodedBatch

# The features of a model, or None if a first batch is still to set them.
SignatureOf = Callable[[str], tuple[str, ...] | None]


def read_batch(
    body: bytes, *, now: datetime, limits: Limits, signature: SignatureOf, default_model: str = DEFAULT_MODEL
) -> EncodedBatch:
    """Check a body and return its batch as it is stored.

    Args:
        body: of ``POST /ingest``.
        now: the time that its time stamps are held against.
        limits: what one request may hold.
        signature: called once, with the model of the batch.
        default_model: the model of a body that names none.

    Raises:
        Malformed, InvalidInput: the body breaks a rule.

    """
    request = decode_ingest(body, now=now, limits=limits, default_model=default_model)
    names = signature(request.model) or signature_of(request.records[0], limits)
    # Imported with the first batch: Parquet's 30 MB are for those alone who take batches in.
    from store.parquet import encode_batch  # noqa: PLC0415

    return encode_batch(to_batch(request, names))
