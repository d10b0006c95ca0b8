"""KServe's V1 protocol: ``{"instances": [...]}`` in, ``{"predictions": [...]}`` out. PURE.

An instance is a row, ``[1.5, 2]``, or an object of features by name, ``{"speed": 1.5, "rpm": 2}``; a request has either
rows or objects. A prediction is ``{"anomaly_score": -0.1, "is_anomaly": true}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from contract.errors import shown
from predictor.v2.complaints import REFUSALS, malformed, misplaced
from predictor.v2.errors import BadInferRequest
from predictor.v2.json_bounds import check_lists, check_values
from predictor.v2.tensors import Rows, Signature, TensorHead, names_of, rows_of_lists

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def decode(body: bytes) -> dict[str, Any]:
    """Return a body as JSON has it.

    Raises:
        BadInferRequest: it is no JSON object.

    """
    try:
        return _decode(body)
    except REFUSALS as fault:
        raise BadInferRequest(malformed(fault, body)) from fault


def decode_bounded(body: bytes, signature: Signature) -> dict[str, Any]:
    """Return a body as JSON has it, if it may be a request for a model with this signature; BadInferRequest."""
    check_values(body, signature)
    check_lists(body, signature)
    return decode(body)


def rows_of(body: Mapping[str, Any], signature: Signature) -> Rows:
    """Return the instances as rows, shape ``(n, n_features)``.

    Raises:
        BadInferRequest: they cannot be taken.

    """
    instances = body.get("instances")
    if not isinstance(instances, list):
        raise BadInferRequest(f'the body is {{"instances": [row, ...]}}; instances is {shown(instances)}')
    if len(instances) > signature.most_rows:
        raise BadInferRequest(
            f"instances has {len(instances)} rows; the limit is {signature.most_rows}: send them in several requests"
        )
    rows = [_row(f"instances[{place}]", instance, signature) for place, instance in enumerate(instances)]
    try:
        numbers = msgspec.convert(rows, list[list[float]])
    except msgspec.ValidationError as fault:
        raise BadInferRequest(misplaced(fault, "instances")) from fault
    return rows_of_lists(TensorHead("instances", "FP64", [len(rows), signature.n_features]), numbers, signature)


def predictions(decision: NDArray[np.float64]) -> dict[str, Any]:
    """Return the answer for rows with these decision functions, shape ``(n,)``."""
    return {"predictions": [{"anomaly_score": value, "is_anomaly": value < 0} for value in decision.tolist()]}


def _row(place: str, instance: object, signature: Signature) -> list[Any]:
    """Return an instance's values in the model's order; what they are is still to be checked."""
    if isinstance(instance, dict):
        return _by_name(place, instance, signature)
    if not isinstance(instance, list):
        raise BadInferRequest(
            f"{place} is {shown(instance)}; it is a list of the {signature.n_features} features of model"
            f" {signature.model!r}, or an object of them by name"
        )
    if len(instance) != signature.n_features:
        raise BadInferRequest(
            f"{place} has {len(instance)} values; a row of model {signature.model!r} has {signature.n_features}:"
            f" {names_of(signature)}"
        )
    return instance


def _by_name(place: str, instance: Mapping[str, Any], signature: Signature) -> list[Any]:
    missing = [name for name in signature.feature_names if name not in instance]
    unknown = sorted(set(instance) - set(signature.feature_names))
    if missing or unknown:
        faults = [
            f"{what} {shown(', '.join(names), 200)}" for what, names in (("misses", missing), ("has", unknown)) if names
        ]
        raise BadInferRequest(
            f"{place} {' and '.join(faults)}; the features of model {signature.model!r} are {names_of(signature)}"
        )
    return [instance[name] for name in signature.feature_names]
