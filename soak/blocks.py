"""Many requests as one piece of bytes, and the plan of which pieces are sent.

Building a request in Python costs more than answering it, so blocks are put together once and sent again and again;
only their marks are made anew (see :mod:`soak.kinds`).
"""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from soak.http_kinds import GOOD
from soak.kinds import NUMBER, TOKEN_MARK, Kind
from soak.tokens import Tokens

_VARIANTS = 40
_AT_ONCE = 600


class Marks:
    """Numbers and tokens that were never used before."""

    def __init__(self, tokens: Tokens) -> None:
        self._numbers = itertools.count(1)
        self._tokens = tokens
        self.token_mark = TOKEN_MARK * tokens.fresh_length

    def number(self) -> bytes:
        """Return another number, as long as its mark."""
        return b"%012d" % next(self._numbers)

    def token(self) -> bytes:
        """Return the token of another subject, as long as its mark."""
        return self._tokens.fresh(next(self._numbers)).encode()


class Block:
    """Requests that are sent together, and the statuses that must come back, in order.

    Args:
        kinds: the requests.
        good: tokens for those that need a good one, in turn.
        marks: what marks are replaced by.
        may_be_limited: whether 429 is as good an answer as the one that a request's kind names.

    """

    def __init__(
        self, kinds: Sequence[Kind], good: Iterator[str], marks: Marks, *, may_be_limited: bool = False
    ) -> None:
        self.kinds = kinds
        self.statuses = [b"%d" % kind.status for kind in kinds]
        self.counts = Counter(kind.name for kind in kinds)
        self.log_counts = Counter(kind.log_status for kind in kinds if kind.log_status is not None)
        self.rows = sum(kind.rows for kind in kinds)
        self.may_be_limited = may_be_limited
        self._data = bytearray(b"".join(_with_token(kind.request, good) for kind in kinds))
        self._marks = marks
        self._numbers = [found.start() for found in re.finditer(NUMBER, self._data)]
        self._tokens = [found.start() for found in re.finditer(marks.token_mark, self._data)]

    def __len__(self) -> int:
        return len(self.kinds)

    def fresh(self) -> bytes:
        """Return the bytes to send, with marks that were never sent before."""
        data, marks = self._data, self._marks
        for place in self._numbers:
            data[place : place + len(NUMBER)] = marks.number()
        for place in self._tokens:
            data[place : place + len(marks.token_mark)] = marks.token()
        return bytes(data)


def _with_token(request: bytes, good: Iterator[str]) -> bytes:
    mark = GOOD.encode()
    return request.replace(mark, next(good).encode()) if mark in request else request


@dataclass(frozen=True)
class Shares:
    """Which part of all requests over keep-alive connections is of which sort; the rest is hot."""

    mixed: float = 0.2
    greedy: float = 0.08


class Plan:
    """Blocks in the order in which they are sent: the sorts evenly spread over the run.

    Args:
        tokens: the run's tokens.
        hot: kinds that the express lane answers.
        mixed: kinds that go the ordinary way.
        greedy: the kind that may be refused as one too many.
        seed: of the order of requests within blocks.

    """

    def __init__(self, tokens: Tokens, hot: Sequence[Kind], mixed: Sequence[Kind], greedy: Kind, *, seed: int) -> None:
        self._good = itertools.cycle(tokens.good)
        self._marks = Marks(tokens)
        self._random = random.Random(seed)  # noqa: S311 - the same order in every run
        self._hot, self._mixed, self._greedy = hot, mixed, greedy

    def each_once(self) -> Block:
        """Return one block with every kind but the greedy one."""
        return self._block([*self._mixed, *self._hot])

    def blocks(self, requests: int, size: int, shares: Shares | None = None) -> Iterator[Block]:
        """Yield blocks of ``size``, the last one smaller, that have so many requests together."""
        shares = shares or Shares()
        hot = [self._block(self._chosen(self._hot, size)) for _ in range(_VARIANTS)]
        mixed = [self._block(self._chosen(self._mixed, size)) for _ in range(_VARIANTS)]
        greedy = Block([self._greedy] * size, self._good, self._marks, may_be_limited=True)
        # The greedy ones come many in a row: alone they would be no more than their limit allows.
        at_once = max(1, min(_AT_ONCE, int(0.8 * shares.greedy * requests)) // size)
        mixed_due = greedy_due = 0.0
        is_greedy = False
        for number in range(requests // size):
            mixed_due += shares.mixed
            greedy_due += shares.greedy
            is_greedy = greedy_due >= (1 if is_greedy else at_once)
            if is_greedy:
                greedy_due -= 1
                yield greedy
            elif mixed_due >= 1:
                mixed_due -= 1
                yield mixed[number % _VARIANTS]
            else:
                yield hot[number % _VARIANTS]
        if rest := requests % size:
            yield self._block(self._chosen(self._hot, rest))

    def strangers(self, requests: int, size: int) -> Iterator[Block]:
        """Yield blocks in which every request names what nobody has named before; a third of them new subjects."""
        new_subjects = [kind for kind in self._mixed if self._marks.token_mark in kind.request]
        refused = [kind for kind in self._mixed if NUMBER in kind.request and kind.status in (401, 404)]
        turns = itertools.cycle([*refused, *new_subjects * (len(refused) // 2)])
        for _ in range(requests // size):
            yield self._block(list(itertools.islice(turns, size)))

    def _chosen(self, kinds: Sequence[Kind], size: int) -> list[Kind]:
        return self._random.choices(kinds, [kind.weight for kind in kinds], k=size)

    def _block(self, kinds: Sequence[Kind]) -> Block:
        return Block(kinds, self._good, self._marks)
