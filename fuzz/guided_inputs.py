"""What bytes from strangers go through, as functions of those bytes alone, for fuzzing guided by coverage.

Each function returns whether the bytes were taken. It raises nothing that the code under test declares: whatever comes
out of it is a finding. What was taken must also hold together: rows are finite and of the model's width, every kernel
gives the same bits, both ways to answer give the same bytes.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.columns import signature_of, to_batch, to_matrix
from contract.digests import digest_of
from contract.errors import ContractError, CorruptArtifact
from contract.forest_file import Forest, decode_forest, encode_forest
from contract.telemetry import Limits, decode_ingest, decode_score, decode_score_lines
from fuzz.subject import random_forest
from predictor.errors import UnsupportedMedia
from predictor.hotpath import score_arrow
from predictor.security.claims import ClaimRules, principal_of
from predictor.security.errors import Refused
from predictor.security.tokens import bearer_token, json_object, read_envelope
from predictor.v2 import v1
from predictor.v2.errors import BadInferRequest
from predictor.v2.json_answer import infer_answer, lone_answer
from predictor.v2.json_request import lone_record, read_request
from predictor.v2.tensors import Signature
from scoring import kernel

Input = Callable[[bytes], bool]

FEATURES = ("speed", "rpm", "oil/temp", "f3")
FOREST = random_forest(np.random.default_rng(0), FEATURES, trees=5)
_SIGNATURE = Signature("default", FEATURES, 50)
_LIMITS = Limits(body_bytes=1 << 20, records=50, features=64)
_NOW = datetime(2024, 2, 1, tzinfo=UTC)
_MOST_VALUES = 100_000
_HEAD = struct.Struct("<BBff")
_NODE = struct.Struct("<bhff")


class Contradiction(AssertionError):
    """Two ways that must come to the same do not."""


def v2_request(data: bytes) -> bool:
    """An infer request over HTTP: two bytes say where the JSON ends, the rest is the body."""
    body = data[2:]
    mark = int.from_bytes(data[:2], "little")
    size = None if mark % 3 == 0 else mark % (len(body) + 2)
    lone = lone_record(body) if size is None else None
    try:
        asked = read_request(body, size, _SIGNATURE)
    except BadInferRequest:
        return False
    _check_rows(asked.rows)
    decision = kernel.scorer(FOREST).score(asked.rows)
    answer = infer_answer("default", "20240115100000", asked.id, asked.outputs, decision)
    if lone is not None:
        _same("a lone record's values", np.array([lone[0]]), asked.rows)
        quick = lone_answer("default", "20240115100000", lone[1], float(decision[0]))
        if quick != answer.body:
            raise Contradiction(f"{quick!r} is not {answer.body!r}")
    return True


def v1_request(data: bytes) -> bool:
    """A V1 request."""
    try:
        rows = v1.rows_of(v1.decode(data), _SIGNATURE)
    except BadInferRequest:
        return False
    _check_rows(rows)
    return True


def score_request(data: bytes) -> bool:
    """A body of POST /score or POST /ingest; the first byte says in which form."""
    form, body = data[:1], data[1:]
    forms: dict[bytes, Input] = {b"a": _score_arrow, b"i": _ingest, b"l": _score_lines}
    try:
        return forms.get(form, _score_json)(body)
    except (ContractError, UnsupportedMedia):
        return False


def token(data: bytes) -> bool:
    """An Authorization header: first its envelope, then, as if it were signed, claims."""
    envelope, _, claims = data.partition(b"\n")
    try:
        read_envelope(bearer_token(b"Bearer " + envelope), {"HS256"})
        principal_of(json_object(claims, "payload"), ClaimRules(audience="a", issuer="i"), 1.7e9)
    except Refused:
        return False
    return True


def forest_file(data: bytes) -> bool:
    """A forest file: whole, or with an even first byte only its arrays, which are then put into a whole one.

    Its digest is always right, so that its structure is what decides.
    """
    file = data[1:] if data[:1] and data[0] % 2 else encode_forest(_drawn_forest(data[1:]))
    try:
        forest = decode_forest(file, digest=digest_of(file))
    except CorruptArtifact:
        return False
    _walk(forest)
    return True


INPUTS: dict[str, Input] = {
    "v2-request": v2_request,
    "forest-file": forest_file,
    "score-request": score_request,
    "v1-request": v1_request,
    "token": token,
}


def _score_json(body: bytes) -> bool:
    records, _ = decode_score(body, now=_NOW, limits=_LIMITS)
    pointers = [str(place) for place in range(len(records))]
    _check_rows(to_matrix(records, FEATURES, pointers, model="default"))
    return True


def _score_lines(body: bytes) -> bool:
    records = decode_score_lines(body, now=_NOW, limits=_LIMITS)
    pointers = [str(place) for place in range(len(records))]
    _check_rows(to_matrix(records, FEATURES, pointers, model="default"))
    return True


def _score_arrow(body: bytes) -> bool:
    stream = score_arrow.decode(body, now=_NOW, limits=_LIMITS)
    rows = score_arrow.matrix(stream, FEATURES, model="default")
    _check_rows(rows)
    score_arrow.encode(stream, kernel.scorer(FOREST).score(rows), "20240115100000")
    return True


def _ingest(body: bytes) -> bool:
    request = decode_ingest(body, now=_NOW, limits=_LIMITS)
    batch = to_batch(request, signature_of(request.records[0], _LIMITS))
    if not np.isfinite(batch.X).all():
        raise Contradiction("a batch has a value that is not finite")
    return True


def _check_rows(rows: NDArray[Any]) -> None:
    if rows.ndim != 2 or rows.shape[1] != len(FEATURES) or len(rows) > _SIGNATURE.most_rows:
        raise Contradiction(f"rows of shape {rows.shape} were taken")
    if not (np.abs(rows.astype(np.float64)) <= np.finfo(np.float32).max).all():
        raise Contradiction("rows with values beyond float32's range were taken")
    decisions = [kernel.scorer(FOREST, kernel=name).score(rows) for name in kernel.kernels()]
    for other in decisions[1:]:
        _same("two kernels' scores", decisions[0], other)


def _walk(forest: Forest) -> None:
    """Score rows of all kinds with every kernel: few and many, float64 and float32, whole and strided."""
    n_rows = max(1, min(300, _MOST_VALUES // forest.n_features))
    rng = np.random.default_rng(forest.n_features)
    X = rng.choice([-3.4e38, -1.0, -0.0, 0.0, 0.5, 1e-45, 3.4e38], (n_rows, forest.n_features))
    expected = kernel.scorer(forest, kernel="numpy").score(X)
    if not np.isfinite(expected).all():
        raise Contradiction(f"a forest that was taken gives scores that are no numbers: {expected[:3]}")
    for name in kernel.kernels():
        scorer = kernel.scorer(forest, kernel=name)
        _same(f"the scores of {name} and numpy", scorer.score(X), expected)
        _same(f"the scores of {name} and numpy, of float32", scorer.score(X.astype(np.float32)), expected)
        _same(f"the scores of {name} and numpy, of every other row", scorer.score(X[::2]), expected[::2])
        records = np.array([scorer.score_record(row) for row in X[:3].tolist()])
        _same(f"the scores of {name} and numpy, of a record", records, expected[:3])


def _same(what: str, one: NDArray[Any], other: NDArray[Any]) -> None:
    if one.tobytes() != other.astype(one.dtype).tobytes():
        raise Contradiction(f"{what} differ: {one.ravel()[:4]} and {other.ravel()[:4]}")


def _drawn_forest(data: bytes) -> Forest:
    """Return a forest of whatever shape: its sizes, two numbers, the roots, then node after node."""
    n_features, n_trees, offset, normalizer = _HEAD.unpack(data[: _HEAD.size].ljust(_HEAD.size, b"\1"))
    n_trees %= 6
    places, rest = data[_HEAD.size :][: 2 * n_trees], data[_HEAD.size + 2 * n_trees :]
    nodes = list(_NODE.iter_unpack(rest[: len(rest) // _NODE.size * _NODE.size]))
    feature, child, threshold, leaf = (np.array([node[place] for node in nodes]) for place in range(4))
    return dataclasses.replace(
        FOREST,
        threshold=threshold.astype(np.float32),
        feature=feature.astype(np.int32),
        child=child.astype(np.int32),
        leaf_value=leaf.astype(np.float64),
        root=np.frombuffer(places.ljust(2 * n_trees, b"\0"), "<i2").astype(np.int32),
        feature_names=tuple(f"f{place}" for place in range(n_features % 8 + 1)),
        offset=float(offset),
        normalizer=float(normalizer),
    )


def drawn_bytes(forest: Forest) -> bytes:
    """Return what :func:`_drawn_forest` makes ``forest`` of."""
    head = _HEAD.pack(forest.n_features - 1, forest.n_trees, forest.offset, forest.normalizer)
    nodes = zip(forest.feature, forest.child, forest.threshold, forest.leaf_value, strict=True)
    return head + forest.root.astype("<i2").tobytes() + b"".join(_NODE.pack(*node) for node in nodes)
