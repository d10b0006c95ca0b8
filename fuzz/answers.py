"""What every answer over HTTP must be, whatever was asked, and what a valid scoring request must get. PURE.

A check returns None, or a complaint: its kind in few words that stay the same from one occurrence to the next, and the
details.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fuzz.cases import HEADER_LENGTH, Case
from fuzz.http_exchange import Answered

_PROBLEM = "application/problem+json"
_LEAKS = (b"Traceback (most recent", b'File "', b".py\\", b"site-packages")


class Complaint(NamedTuple):
    """What is wrong with an answer."""

    kind: str
    detail: str


class Scores(NamedTuple):
    """What a scoring answer says: decision functions and flags, None where it was not asked for."""

    decision: NDArray[np.float64] | None
    anomalous: NDArray[np.bool_] | None
    version: str


class _Unreadable(Exception):
    """An answer of 200 has not its form."""


def check(case: Case, answer: Answered) -> Complaint | None:
    """Return what is wrong with the answer to ``case``."""
    wrong = check_any(case.path, answer)
    if wrong is not None:
        return wrong
    if answer.status != 200:
        if case.expected is None:
            return None
        return Complaint("a valid request is refused", f"{answer.status} {answer.body[:500]!r}")
    try:
        scores = scores_in(case, answer)
    except (_Unreadable, msgspec.MsgspecError, KeyError, ValueError, pa.ArrowException) as fault:
        return Complaint("200 without its form", f"{fault!r}: {answer.body[:500]!r}")
    return _check_scores(case, scores)


def check_any(path: str, answer: Answered, *, method: str = "POST") -> Complaint | None:
    """Return what is wrong with an answer that may be to anything."""
    if answer.status >= 500:
        return Complaint(f"status {answer.status}", repr(answer.body[:500]))
    if not 200 <= answer.status < 600:
        return Complaint("no final status", str(answer.status))
    request_id = answer.headers.get("x-request-id")
    if request_id is None:
        return Complaint("no X-Request-Id", f"status {answer.status} {answer.body[:200]!r}")
    if answer.status >= 400:
        if any(leak in answer.body for leak in _LEAKS):
            return Complaint("an error shows the server's inside", repr(answer.body[:1000]))
        return None if method == "HEAD" else _check_error(path, answer, request_id)
    return None


def scores_in(case: Case, answer: Answered) -> Scores:
    """Return what an answer of 200 says; raises if it has not the form that it should have."""
    if case.form == "score-arrow":
        return _arrow_scores(answer.body)
    if case.form.startswith("score"):
        lines = answer.body.splitlines() if case.form == "score-ndjson" else [answer.body]
        documents = [msgspec.json.decode(line) for line in lines]
        records = documents[0] if isinstance(documents[0], list) else documents
        decision = np.array([record["anomaly_score"] for record in records], np.float64)
        return Scores(decision, np.array([record["is_anomaly"] for record in records]), records[0]["model_version"])
    if case.form == "v1":
        predictions = msgspec.json.decode(answer.body)["predictions"]
        decision = np.array([one["anomaly_score"] for one in predictions], np.float64)
        return Scores(decision, np.array([one["is_anomaly"] for one in predictions], bool), case.version)
    return _v2_scores(case, answer)


def _check_scores(case: Case, scores: Scores) -> Complaint | None:
    decision, anomalous = scores.decision, scores.anomalous
    if decision is not None:
        if not np.isfinite(decision).all():
            return Complaint("a score is not finite", repr(decision[:5]))
        if anomalous is not None and not np.array_equal(anomalous, decision < 0):
            return Complaint("a flag contradicts its score", f"{decision[:5]} {anomalous[:5]}")
    if case.expected is None:
        return None
    if scores.version != case.version:
        return Complaint("another version answers", f"{scores.version} instead of {case.version}")
    if decision is not None and decision.tobytes() != case.expected.tobytes():
        return Complaint("a score differs from the kernel's", f"{decision[:5]} instead of {case.expected[:5]}")
    if anomalous is not None and not np.array_equal(anomalous, case.expected < 0):
        return Complaint("a flag differs from the kernel's", f"{anomalous[:5]} instead of {case.expected[:5] < 0}")
    return None


def _check_error(path: str, answer: Answered, request_id: str) -> Complaint | None:
    wrong = Complaint("an error has not its form", f"{answer.status} {answer.headers} {answer.body[:300]!r}")
    try:
        document = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return wrong
    if not isinstance(document, dict):
        return wrong
    if path.startswith(("/v2", "/v1/")):
        return None if isinstance(document.get("error"), str) else wrong
    is_problem = answer.headers.get("content-type") == _PROBLEM and document.get("status") == answer.status
    return None if is_problem and document.get("request_id") == request_id else wrong


def _arrow_scores(body: bytes) -> Scores:
    with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
        table = reader.read_all()
    decision = np.array(table.column("anomaly_score").to_pylist(), np.float64)
    anomalous = np.array(table.column("is_anomaly").to_pylist(), bool)
    return Scores(decision, anomalous, table.column("model_version").to_pylist()[0])


def _v2_scores(case: Case, answer: Answered) -> Scores:
    size = int(answer.headers.get(HEADER_LENGTH.lower(), len(answer.body)))
    document, binary = msgspec.json.decode(answer.body[:size]), answer.body[size:]
    if case.expected is not None:
        _check_v2_echo(case, document)
    found: dict[str, NDArray[Any]] = {}
    for output in document["outputs"]:
        dtype = np.dtype("<f8" if output["name"] == "anomaly_score" else "?")
        if "data" in output:
            values: NDArray[Any] = np.array(output["data"], dtype)
        else:
            n_bytes = output["parameters"]["binary_data_size"]
            values, binary = np.frombuffer(binary[:n_bytes], dtype), binary[n_bytes:]
        if output["shape"] != [len(values)]:
            raise _Unreadable(f"{output['name']} has shape {output['shape']} and {len(values)} values")
        found[output["name"]] = values
    if binary:
        raise _Unreadable(f"{len(binary)} bytes belong to no output")
    return Scores(found.get("anomaly_score"), found.get("is_anomaly"), document["model_version"])


def _check_v2_echo(case: Case, document: dict[str, Any]) -> None:
    names = [output["name"] for output in document["outputs"]]
    if names != list(case.outputs):
        raise _Unreadable(f"outputs {names} instead of {list(case.outputs)}")
    if document.get("id") != case.request_id:
        raise _Unreadable(f"id {document.get('id')!r} instead of {case.request_id!r}")
