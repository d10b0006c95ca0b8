"""The whole load, abreast: blocks over keep-alive connections, connections used once, slow clients, gRPC."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from soak.blocks import Block, Plan
from soak.ending_kinds import Ending, ending_kinds, slow_kinds
from soak.grpc_calls import Calling, call_kinds
from soak.http_kinds import greedy_kind, hot_kinds, mixed_kinds
from soak.pace import Pace
from soak.pipelining import Pipelining
from soak.server import Server
from soak.single import send_side_by_side
from soak.tally import Tally
from soak.tokens import Tokens

_SUBJECTS = 256
_SIDE_BY_SIDE = 40
# So many requests are smaller than what the express lane takes in one piece, 16 KiB.
_MOST_AT_ONCE = 24
_BLOCKS, _SINGLE, _GRPC = "blocks", "single", "gRPC"
# More than any cache holds: 10,000 verified tokens, 4,096 paths, 1,000 refused tokens.
_STRANGERS = 60_000


@dataclass(frozen=True)
class Amounts:
    """How many requests of each sort a run has; together they are all."""

    blocks: int
    single: int
    slow: int
    calls: int
    block_size: int

    @classmethod
    def of(cls, requests: int) -> Amounts:
        """Divide a run's requests."""
        single, calls = max(40, requests // 200), max(40, requests // 70)
        slow = max(3, requests // 100_000)
        size = min(_MOST_AT_ONCE, max(10, requests // 2000))
        return cls(requests - single - slow - calls, single, slow, calls, size)


class Load:
    """Sends everything.

    Args:
        server: what it is sent to.
        tally: where answers are counted.
        seed: of what is random.

    """

    def __init__(self, server: Server, *, seed: int) -> None:
        self._port = server.port
        tokens = Tokens(_SUBJECTS)
        self._plan = Plan(tokens, hot_kinds(tokens), mixed_kinds(tokens), greedy_kind(tokens), seed=seed)
        self._endings = _spread(ending_kinds(tokens))
        self._slow = slow_kinds(tokens)
        self._calls = call_kinds(tokens)
        self._grpc_port = server.grpc_port
        self._seed = seed

    def warm_up(self, tally: Tally, *, strangers: int = _STRANGERS) -> None:
        """Send one of each kind, side by side until all threads are there, and more strangers than caches hold."""
        each = self._plan.each_once()
        Pipelining(self._port, tally, connections=20).run(each for _ in range(60))
        Pipelining(self._port, tally).run(self._plan.strangers(strangers, 100))
        send_side_by_side(self._port, [*self._endings, *self._slow], tally)
        with_grpc = Calling(self._grpc_port, self._calls, tally, seed=self._seed)
        for _ in range(3):
            with_grpc.call_each()
        with_grpc.close()

    def run(self, amounts: Amounts, tally: Tally) -> None:
        """Send a run's requests; ServerGone if the server goes before their end."""
        pace = Pace((_BLOCKS, _SINGLE, _GRPC))
        errors: list[BaseException] = []

        def guarded(work: Callable[[Amounts, Tally, Pace], None]) -> None:
            try:
                work(amounts, tally, pace)
            except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits for all
                errors.append(error)
                pace.end()

        work = (self._send_blocks, self._send_single, self._send_slow, self._call)
        threads = [threading.Thread(target=guarded, args=(one,), name=one.__name__, daemon=True) for one in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def _send_blocks(self, amounts: Amounts, tally: Tally, pace: Pace) -> None:
        def abreast() -> Iterator[Block]:
            sent = 0
            for block in self._plan.blocks(amounts.blocks, amounts.block_size):
                pace.reach(_BLOCKS, sent / amounts.blocks)
                if pace.is_over:
                    return
                yield block
                sent += len(block)

        Pipelining(self._port, tally).run(abreast())
        pace.reach(_BLOCKS, 1.0)

    def _send_single(self, amounts: Amounts, tally: Tally, pace: Pace) -> None:
        done = 0
        while done < amounts.single and not pace.is_over:
            count = min(_SIDE_BY_SIDE, amounts.single - done)
            chosen = [self._endings[(done + place) % len(self._endings)] for place in range(count)]
            send_side_by_side(self._port, chosen, tally)
            done += count
            pace.reach(_SINGLE, done / amounts.single)

    def _send_slow(self, amounts: Amounts, tally: Tally, pace: Pace) -> None:
        for number in range(0, amounts.slow, len(self._slow)):
            pace.follow(number / amounts.slow)
            if pace.is_over:
                return
            send_side_by_side(self._port, self._slow[: amounts.slow - number], tally)

    def _call(self, amounts: Amounts, tally: Tally, pace: Pace) -> None:
        calling = Calling(self._grpc_port, self._calls, tally, seed=self._seed)
        done = 0
        while done < amounts.calls and not pace.is_over:
            count = min(_SIDE_BY_SIDE, amounts.calls - done)
            calling.call(count)
            done += count
            pace.reach(_GRPC, done / amounts.calls)
        calling.close()


def _spread(endings: list[Ending]) -> list[Ending]:
    """Return each as often as its weight says, no two of a kind in a row where that can be."""
    places = [
        ((turn + 0.5) / ending.kind.weight, ending) for ending in endings for turn in range(int(ending.kind.weight))
    ]
    return [ending for _, ending in sorted(places, key=lambda place: place[0])]
