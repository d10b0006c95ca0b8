"""What was sent and what came back, counted by kind; shared by all threads that send."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from soak.blocks import Block
from soak.kinds import ABORTED, Kind

_LIMITED = b"429"
_EXAMPLES = 20


class Tally:
    """Counts.

    Args:
        on_progress: is told how many requests were answered so far, a few hundred times; by one thread at a time.
        step: after how many requests.

    """

    def __init__(self, on_progress: Callable[[int], None] = lambda _: None, *, step: int = 1) -> None:
        self.by_kind: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.logged: Counter[int] = Counter()
        self.wrong: Counter[str] = Counter()
        self.limited = 0
        self.rows = 0
        self.requests = 0
        self._on_progress = on_progress
        self._step = step
        self._next = 0
        self._lock = threading.Lock()

    def note_block(self, block: Block, statuses: list[bytes]) -> None:
        """Note a block whose answers have come, all of them."""
        with self._lock:
            self.by_kind.update(block.counts)
            self.logged.update(block.log_counts)
            self.rows += block.rows
            if statuses != block.statuses:
                self._note_differences(block, statuses)
            self._advance(len(block))

    def note(self, kind: Kind, status: int) -> None:
        """Note one request with its answer, or :data:`ABORTED`."""
        with self._lock:
            self.by_kind[kind.name] += 1
            if kind.log_status is not None:
                self.logged[kind.log_status] += 1
            self.rows += kind.rows
            if status != kind.status:
                self._note_wrong(kind.name, _said(kind.status), _said(status))
            self._advance(1)

    def note_call(self, name: str, expected: str, code: str, *, rows: int = 0) -> None:
        """Note a call over gRPC, which the access log does not have."""
        with self._lock:
            self.by_kind[name] += 1
            self.rows += rows
            if code != expected:
                self._note_wrong(name, expected, code)
            self._advance(1)

    def note_fault(self, what: str) -> None:
        """Note that something went wrong that is no answer."""
        with self._lock:
            self._note_wrong(what, "", "")

    def _note_differences(self, block: Block, statuses: list[bytes]) -> None:
        for kind, expected, got in zip(block.kinds, block.statuses, statuses, strict=True):
            if got == expected:
                continue
            if block.may_be_limited and got == _LIMITED:
                self.limited += 1
                self.rows -= kind.rows
                self.logged[kind.status] -= 1
                self.logged[429] += 1
            else:
                self._note_wrong(kind.name, expected.decode(), got.decode())

    def _note_wrong(self, name: str, expected: str, got: str) -> None:
        what = f"{name}: {got} instead of {expected}" if expected else name
        if what in self.wrong or len(self.wrong) < _EXAMPLES:
            self.wrong[what] += 1
        else:
            self.wrong["others"] += 1

    def _advance(self, count: int) -> None:
        self.requests += count
        while self.requests >= self._next:
            self._next += self._step
            self._on_progress(self.requests)


def _said(status: int) -> str:
    return "no answer" if status == ABORTED else str(status)
