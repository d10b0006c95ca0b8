"""A large infer request, its numbers straight into an array: 800,000 Python floats take longer to make than to score.

simdjson writes them into a buffer of doubles. It does so for the one form that is worth it, a single tensor with its
data in a flat list. Anything else is left to :mod:`predictor.v2.json_request`, which also has the sentences that say
what is wrong; so this decides how long a request takes, and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import simdjson
from numpy.typing import NDArray

from predictor.v2.json_bounds import count

# Of inputs, shape and data; outputs, where they are asked for, have one more.
_BRACKETS = 3
# A parser holds about as much memory as the largest body it read. A new one for each body of 16 MB takes 17,000 page
# faults, a third of the request's time.
_KEPT_BYTES = 32 << 20

_kept = simdjson.Parser()
_free = threading.Lock()


def flat_request(body: bytes) -> tuple[dict[str, Any], NDArray[np.float64]] | None:
    """Return a request's document without its one tensor's data, and these, shape ``(n,)``; None for any other form."""
    brackets = count(body, "[")
    if brackets > _BRACKETS + 1:
        return None
    with _lent_parser(len(body)) as parser:
        try:
            return _parts(parser.parse(body), brackets)
        except (ValueError, TypeError, KeyError, IndexError, RuntimeError):
            # No JSON, of other types, or an integer of more than 64 bits, for which simdjson raises RuntimeError: it is
            # read again, and what is wrong is said there.
            return None


@contextmanager
def _lent_parser(size: int) -> Iterator[simdjson.Parser]:
    """Lend the parser that is kept, with its memory; a new one where it is lent already, or would grow too much."""
    if size > _KEPT_BYTES or not _free.acquire(blocking=False):
        yield simdjson.Parser()
        return
    try:
        yield _kept
    finally:
        _free.release()


def _parts(root: Any, brackets: int) -> tuple[dict[str, Any], NDArray[np.float64]] | None:
    # A list within the list of numbers would be flattened.
    if brackets != _BRACKETS + ("outputs" in root) or len(root["inputs"]) != 1:
        return None
    tensor = root["inputs"][0]
    if _repeats(root) or _repeats(tensor):
        return None
    values = np.frombuffer(tensor["data"].as_buffer(of_type="d"), np.float64)
    document = {name: _plain(root[name]) for name in root if name != "inputs"}
    document["inputs"] = [{name: _plain(tensor[name]) for name in tensor if name != "data"}]
    return document, values


def _repeats(members: Any) -> bool:
    return len(set(members)) != len(members)


def _plain(value: Any) -> Any:
    if isinstance(value, simdjson.Array):
        return value.as_list()
    return value.as_dict() if isinstance(value, simdjson.Object) else value
