"""The forms that ``POST /score`` takes, told apart by Content-Type: JSON, NDJSON and Arrow streams. PURE.

The answer has the request's form. Arrow has a module of its own, because its library is imported only when one comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from contract.telemetry import Limits, ScoreRecord, decode_score, decode_score_lines
from predictor.errors import UnsupportedMedia

JSON = "application/json"
NDJSON = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"
_FORMS = {JSON: JSON, NDJSON: NDJSON, "application/ndjson": NDJSON, "application/jsonl": NDJSON, ARROW: ARROW}
_encoder = msgspec.json.Encoder()


class Score(msgspec.Struct, frozen=True, gc=False):
    """One record's score: ``anomaly_score`` is the decision function, anomalous below 0."""

    vehicle_id: str
    anomaly_score: float
    is_anomaly: bool
    model_version: str


def form_of(content_type: bytes | None, content_encoding: bytes | None) -> str:
    """Return the form of a body by its headers: one of JSON, NDJSON and ARROW.

    Raises:
        UnsupportedMedia: it is none of them, or compressed.

    """
    if content_type is None:
        raise UnsupportedMedia("there is no Content-Type: send Content-Type: application/json")
    name = content_type.decode("latin-1")
    form = _FORMS.get(name.partition(";")[0].strip().lower())
    if form is None:
        raise UnsupportedMedia(f"Content-Type is {name[:200]!r}: send one of {JSON}, {NDJSON} and {ARROW}")
    encoding = (content_encoding or b"").decode("latin-1").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMedia(f"Content-Encoding is {encoding[:200]!r}: send the body uncompressed")
    return form


def decode(form: str, body: bytes, *, now: datetime, limits: Limits) -> tuple[list[ScoreRecord], bool]:
    """Return the records of a JSON or NDJSON body, and whether they are an array.

    Raises:
        Malformed, InvalidInput: the body breaks a rule.

    """
    if form == NDJSON:
        return decode_score_lines(body, now=now, limits=limits), True
    return decode_score(body, now=now, limits=limits)


def encode(form: str, scores: Sequence[Score | None], *, is_array: bool) -> bytes:
    """Return the answer's body in the request's form."""
    if form == NDJSON:
        return _encoder.encode_lines(scores)
    return _encoder.encode(scores if is_array else scores[0])
