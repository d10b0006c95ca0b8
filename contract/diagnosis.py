"""Finding what is wrong with a body that the typed decoder refused.

Slow and only for the bad case: it walks plain Python values and names every place that breaks the record's shape, with
what came there. It decides nothing: the typed decoder has already refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from contract.errors import Fault, InvalidInput, Malformed, shown

FAULTS_SHOWN = 10
_RECORD_FIELDS = {"vehicle_id": True, "timestamp": True, "feature_vector": False, "features": False}
_SCORE_FIELDS = _RECORD_FIELDS | {"model": False, "model_version": False}
_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
}


def of_ingest(body: object, refusal: str) -> InvalidInput:
    """Return the error for a body of ``POST /ingest`` that the decoder refused with ``refusal``."""
    return _gathered(_ingest_faults(body), refusal)


def of_score(body: object, refusal: str) -> InvalidInput:
    """Return the error for a body of ``POST /score`` that the decoder refused with ``refusal``."""
    if isinstance(body, list):
        faults = (fault for i, record in enumerate(body) for fault in _record_faults(record, f"/{i}", _SCORE_FIELDS))
        return _gathered(faults, refusal)
    return _gathered(_record_faults(body, "", _SCORE_FIELDS), refusal)


def of_score_line(record: object, refusal: str, place: int) -> InvalidInput:
    """Return the error for one record of many, which the decoder refused with ``refusal``."""
    return _gathered(_record_faults(record, f"/{place}", _SCORE_FIELDS), refusal)


def escaped(name: str) -> str:
    """Return ``name`` as a reference token of a JSON pointer (RFC 6901)."""
    return shown(name.replace("~", "~0").replace("/", "~1"))


def parsed_with_huge_numbers(body: bytes) -> object:
    """Parse JSON whose numbers overflow a double; they come back as infinities, for the message alone."""
    try:
        return json.loads(body, parse_int=_number)
    except (ValueError, RecursionError) as refusal:
        raise Malformed(f"the body must be JSON: {refusal}") from None


def _number(digits: str) -> float:
    return float(digits)


def _gathered(faults: Iterator[Fault], refusal: str) -> InvalidInput:
    shown_faults: list[Fault] = []
    more = 0
    for fault in faults:
        if len(shown_faults) < FAULTS_SHOWN:
            shown_faults.append(fault)
        else:
            more += 1
    return InvalidInput(shown_faults or [Fault("", refusal)], more=more)


def _ingest_faults(body: object) -> Iterator[Fault]:
    if not isinstance(body, dict):
        yield _wrong("", 'an object {"records": [...]}', body)
        return
    yield from _unknown_fields(body, "", ("records", "model"))
    if not isinstance(body.get("model", ""), str):
        yield _wrong("/model", "a string", body["model"])
    if "records" not in body:
        yield Fault("/records", "is missing: an array of records is needed")
    elif not isinstance(body["records"], list):
        yield _wrong("/records", "an array of records", body["records"])
    else:
        for index, record in enumerate(body["records"]):
            yield from _record_faults(record, f"/records/{index}", _RECORD_FIELDS)


def _record_faults(record: Any, place: str, fields: dict[str, bool]) -> Iterator[Fault]:
    if not isinstance(record, dict):
        yield _wrong(place, "a record (an object)", record)
        return
    yield from _unknown_fields(record, place, tuple(fields))
    for field, required in fields.items():
        if field not in record:
            if required:
                yield Fault(f"{place}/{field}", "is missing")
        else:
            yield from _field_faults(field, record[field], f"{place}/{field}")


def _field_faults(field: str, value: Any, place: str) -> Iterator[Fault]:
    if field == "feature_vector":
        yield from _vector_faults(value, place)
    elif field == "features":
        yield from _mapping_faults(value, place)
    elif field == "timestamp":
        yield from _timestamp_faults(value, place)
    elif not isinstance(value, str) and not (field == "model_version" and value is None):
        yield _wrong(place, "a string", value)


def _vector_faults(value: Any, place: str) -> Iterator[Fault]:
    if isinstance(value, list):
        for position, number in enumerate(value):
            yield from _number_faults(number, f"{place}/{position}")
    elif value is not None:
        yield _wrong(place, "an array of numbers", value)


def _mapping_faults(value: Any, place: str) -> Iterator[Fault]:
    if isinstance(value, dict):
        for name, number in value.items():
            yield from _number_faults(number, f"{place}/{escaped(name)}")
    elif value is not None:
        yield _wrong(place, "an object of name to number", value)


def _number_faults(value: Any, place: str) -> Iterator[Fault]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield _wrong(place, "a number", value)
    elif not _is_finite(value):
        detail = f"must be finite and within float32's range; got {shown(value)}"
        yield Fault(place, detail, shown(value), "3.402823e+38")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond any double
        return False


def _timestamp_faults(value: Any, place: str) -> Iterator[Fault]:
    if not isinstance(value, str):
        yield _wrong(place, "a string, such as '2024-01-15T10:00:00Z'", value)
        return
    try:
        msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        detail = f"must be a time as in RFC 3339, such as '2024-01-15T10:00:00Z'; got {shown(value)!r}"
        yield Fault(place, detail, shown(value))


def _unknown_fields(value: dict[str, Any], place: str, known: tuple[str, ...]) -> Iterator[Fault]:
    for name in value:
        if name not in known:
            yield Fault(
                f"{place}/{escaped(name)}",
                f"is not a field here; the fields are {', '.join(known)}",
                escaped(name),
            )


def _wrong(place: str, wanted: str, got: Any) -> Fault:
    name = "null" if got is None else _NAMES.get(type(got), type(got).__name__)
    return Fault(place, f"must be {wanted}; got {name}: {shown(got)}", shown(got))
