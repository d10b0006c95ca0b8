"""How much a JSON body holds, told by counting characters before objects are made of it. PURE.

64 MiB of ``0,`` or ``[],`` would become more than a gigabyte of numbers or lists. Bodies of bearable size are not
looked at.
"""

from __future__ import annotations

import numpy as np

from predictor.v2.errors import BadInferRequest
from predictor.v2.tensors import Signature

# From this size on it pays to look.
LARGE_BYTES = 1 << 20
# What a request may hold beside its rows: names, shapes, parameters, and such characters in strings.
_BESIDE = 10_000
# As much as stays in a core's cache.
_PIECE = 1 << 16


def check_values(body: bytes, signature: Signature) -> None:
    """Refuse a body with more values than the most rows have.

    Raises:
        BadInferRequest: it has more.

    """
    most = signature.most_rows * signature.n_features
    if len(body) > LARGE_BYTES and count(body, ",") > most + _BESIDE:
        raise BadInferRequest(
            f"the body holds more than the {most} values that {signature.most_rows} rows of {signature.n_features}"
            " features have: send the rows in several requests"
        )


def check_lists(body: bytes, signature: Signature) -> None:
    """Refuse a body with more lists and objects than the most rows are.

    Raises:
        BadInferRequest: it has more.

    """
    if len(body) > LARGE_BYTES and body.count(b"[") + body.count(b"{") > signature.most_rows + _BESIDE:
        raise BadInferRequest(
            f"the body holds more lists than {signature.most_rows} rows have: send the rows in several requests"
        )


def count(body: bytes, character: str) -> int:
    """Return how often an ASCII character occurs, sooner than ``bytes.count`` where it occurs every few bytes."""
    view = np.frombuffer(body, np.uint8)
    code = ord(character)
    return sum(int(np.count_nonzero(view[start : start + _PIECE] == code)) for start in range(0, len(view), _PIECE))
