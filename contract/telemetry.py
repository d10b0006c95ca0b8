"""The telemetry record as it comes over the wire, and a batch of them as columns.

Decoding is strict and all or nothing: one bad record refuses its whole request, and the error names the place. The
typed decoder (msgspec) takes the good case in one pass; only when it refuses does :mod:`contract.diagnosis` walk the
body again, slowly, to say what is wrong and where.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from contract import diagnosis
from contract.errors import Fault, InvalidInput, Malformed, shown
from contract.names import DEFAULT_MODEL, MODEL_NAME_RULE, is_model_name

EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)
# Columns of a stored batch, so no feature can have these names.
RESERVED_FEATURES = ("vehicle_id", "timestamp")
# Isolation Forests compare float32; a larger number would become infinite there.
LARGEST_VALUE = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Limits:
    """What one request may hold at most."""

    body_bytes: int = 64 * 1024 * 1024
    records: int = 100_000
    features: int = 1_024
    id_characters: int = 256
    ahead: timedelta = timedelta(hours=24)


class Record(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One reading of one vehicle: the values by position (``feature_vector``) or by name (``features``)."""

    vehicle_id: str
    timestamp: datetime
    feature_vector: list[float] | None = None
    features: dict[str, float] | None = None


class ScoreRecord(Record, forbid_unknown_fields=True, gc=False):
    """A record to score, by the model and version that it names or by the server's defaults."""

    model: str | None = None
    model_version: str | None = None


class IngestBody(msgspec.Struct):
    """What the body of ``POST /ingest`` asks: train ``model`` on ``records``."""

    records: list[Record]
    model: str


class _WireIngestBody(msgspec.Struct, forbid_unknown_fields=True):
    records: list[Record]
    model: str | msgspec.UnsetType = msgspec.UNSET


_ingest_decoder = msgspec.json.Decoder(_WireIngestBody)
_score_decoder = msgspec.json.Decoder(ScoreRecord | list[ScoreRecord])
_record_decoder = msgspec.json.Decoder(ScoreRecord)


def decode_ingest(body: bytes, *, now: datetime, limits: Limits, default_model: str = DEFAULT_MODEL) -> IngestBody:
    """Decode and check the body of ``POST /ingest``, all but the features, which depend on the model.

    A body that names no model is for ``default_model``.

    Raises:
        Malformed: the body is not JSON in UTF-8.
        InvalidInput: it is JSON and breaks a rule; every fault names its place.

    """
    try:
        wire = _ingest_decoder.decode(body)
    except msgspec.ValidationError as refusal:
        raise diagnosis.of_ingest(_parsed(body), str(refusal)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as refusal:
        raise malformed(refusal, body) from None
    request = IngestBody(wire.records, default_model if wire.model is msgspec.UNSET else wire.model)
    if not is_model_name(request.model):
        raise InvalidInput([_bad_model_name("/model", request.model)])
    _check_count(len(request.records), "/records", limits)
    check_records(request.records, "/records", now=now, limits=limits)
    _refuse_repeats(request.records)
    return request


def decode_score(body: bytes, *, now: datetime, limits: Limits) -> tuple[list[ScoreRecord], bool]:
    """Decode and check the body of ``POST /score``: the records, and whether they came as an array.

    Raises:
        Malformed: the body is not JSON in UTF-8.
        InvalidInput: it is JSON and breaks a rule; every fault names its place.

    """
    try:
        decoded = _score_decoder.decode(body)
    except msgspec.ValidationError as refusal:
        raise diagnosis.of_score(_parsed(body), str(refusal)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as refusal:
        raise malformed(refusal, body) from None
    if isinstance(decoded, ScoreRecord):
        check_records([decoded], None, now=now, limits=limits)
        return [decoded], False
    _check_count(len(decoded), "", limits)
    check_records(decoded, "", now=now, limits=limits)
    return decoded, True


def decode_record(body: bytes, *, latest: datetime, limits: Limits) -> ScoreRecord | None:
    """Decode a lone record of ``POST /score``; None if anything is wrong with it, which :func:`decode_score` can tell.

    Args:
        body: the request's body.
        latest: the latest time stamp that may come.
        limits: what one request may hold.

    """
    try:
        record = _record_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return record if _is_ok(record, latest, limits) else None


def decode_score_lines(body: bytes, *, now: datetime, limits: Limits) -> list[ScoreRecord]:
    """Decode and check records that come one on each line (NDJSON); places are counted from 0.

    Raises:
        Malformed: a line is not JSON in UTF-8.
        InvalidInput: a line is JSON and breaks a rule; every fault names its place.

    """
    try:
        records = _record_decoder.decode_lines(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as refusal:
        raise _bad_line(body, refusal) from None
    _check_count(len(records), "", limits)
    check_records(records, "", now=now, limits=limits)
    return records


def _bad_line(body: bytes, refusal: Exception) -> Malformed | InvalidInput:
    """Find the first line that does not decode, and say what is wrong with it."""
    place = 0
    for number, line in enumerate(body.splitlines(), 1):
        if not line.strip():
            continue
        try:
            _record_decoder.decode(line)
        except msgspec.ValidationError as fault:
            try:
                return diagnosis.of_score_line(_parsed(line), str(fault), place)
            except Malformed as worse:
                return Malformed(f"line {number}: {worse}")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            return Malformed(f"line {number}: {malformed(fault, line)}")
        place += 1
    return malformed(refusal, body)


def malformed(refusal: Exception, body: bytes) -> Malformed:
    """Say what is wrong with a body that is not JSON."""
    if isinstance(refusal, UnicodeDecodeError):
        start = _first_bad_byte(body)
        return Malformed(f"the body must be UTF-8; byte {start} is 0x{body[start]:02x}")
    if isinstance(refusal, RecursionError):
        return Malformed("the body is nested too deeply")
    if "truncated" in str(refusal):
        return Malformed("the body is not complete JSON: it ends in the middle of a value")
    return Malformed(f"the body must be JSON (which has no NaN or Infinity): {refusal}")


def _first_bad_byte(body: bytes) -> int:
    try:
        body.decode()
    except UnicodeDecodeError as refusal:
        return refusal.start
    return 0


def _parsed(body: bytes) -> object:
    """Decode a body whose types are wrong, for diagnosis; it may still turn out not to be JSON further on."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as refusal:
        if "out of range" in str(refusal):
            return diagnosis.parsed_with_huge_numbers(body)
        raise malformed(refusal, body) from None


def _check_count(count: int, pointer: str, limits: Limits) -> None:
    if count == 0:
        raise InvalidInput([Fault(pointer, "at least one record is needed; got none", "0", "1")])
    if count > limits.records:
        detail = f"at most {limits.records} records in one request; got {count}: send them in several"
        raise InvalidInput([Fault(pointer, detail, str(count), str(limits.records))])


def _bad_model_name(pointer: str, name: str) -> Fault:
    return Fault(pointer, f"{MODEL_NAME_RULE}; got {shown(name)!r}", shown(name), "63 characters")


def check_records(records: Sequence[Record], pointer: str | None, *, now: datetime, limits: Limits) -> None:
    """Refuse records whose id, time stamp or form break a rule; ``pointer`` is None for a lone record."""
    latest = now + limits.ahead
    faults: list[Fault] = []
    more = 0
    for index, record in enumerate(records):
        if _is_ok(record, latest, limits):
            continue
        if len(faults) < diagnosis.FAULTS_SHOWN:
            place = "" if pointer is None else f"{pointer}/{index}"
            faults.append(_record_fault(record, place, latest=latest, limits=limits))
        else:
            more += 1
    if faults:
        raise InvalidInput(faults, more=more)


def _is_ok(record: Record, latest: datetime, limits: Limits) -> bool:
    """Tell whether a record keeps every rule that does not depend on its model."""
    name = record.vehicle_id
    try:
        return (
            EARLIEST <= record.timestamp <= latest
            and 0 < len(name) <= limits.id_characters
            and name.isprintable()
            and (record.feature_vector is None) != (record.features is None)
            and (type(record) is not ScoreRecord or record.model is None or is_model_name(record.model))
        )
    except TypeError:  # a time without a zone does not compare
        return False


def _record_fault(record: Record, place: str, *, latest: datetime, limits: Limits) -> Fault:
    """Name the first rule that a record breaks."""
    name, time = record.vehicle_id, record.timestamp
    if not 0 < len(name) <= limits.id_characters:
        limit = f"1 to {limits.id_characters} characters"
        return Fault(f"{place}/vehicle_id", f"must have {limit}; got {len(name)}", shown(name), limit)
    if not name.isprintable():
        return Fault(f"{place}/vehicle_id", "must hold printable characters only", shown(ascii(name)))
    if time.tzinfo is None:
        detail = f"must carry a time zone, such as 'Z' or '+02:00'; got {time.isoformat()}"
        return Fault(f"{place}/timestamp", detail, time.isoformat())
    if time < EARLIEST:
        detail = f"must not be before {EARLIEST.isoformat()}; got {time.isoformat()}"
        return Fault(f"{place}/timestamp", detail, time.isoformat(), EARLIEST.isoformat())
    if time > latest:
        hours = limits.ahead.total_seconds() / 3600
        detail = f"must not be more than {hours:g} h ahead of the server's clock; got {time.isoformat()}"
        return Fault(f"{place}/timestamp", detail, time.isoformat(), latest.isoformat())
    if isinstance(record, ScoreRecord) and record.model is not None and not is_model_name(record.model):
        return _bad_model_name(f"{place}/model", record.model)
    came = "neither" if record.features is None else "both"
    return Fault(place, f"must have either feature_vector or features; got {came}", came)


def _refuse_repeats(records: Sequence[Record]) -> None:
    seen: dict[tuple[str, datetime], int] = {}
    for index, record in enumerate(records):
        first = seen.setdefault((record.vehicle_id, record.timestamp), index)
        if first != index:
            when = record.timestamp.isoformat()
            detail = (
                f"vehicle {shown(record.vehicle_id)!r} at {when} is in the batch twice, "
                f"first as /records/{first}: send each reading once"
            )
            raise InvalidInput([Fault(f"/records/{index}", detail, when)])
