"""Sends blocks of requests over a few connections at once, and counts the answers' statuses in order.

Whole blocks are written before their answers are awaited, which HTTP/1.1 allows (RFC 9112, 9.3.2). Of the answers only
the status lines are looked at: what the bodies say is for the tests to know.
"""

from __future__ import annotations

import re
import selectors
from collections.abc import Iterator

from soak.blocks import Block
from soak.connecting import connected
from soak.errors import ServerGone
from soak.tally import Tally

_STATUS = re.compile(rb"HTTP/1\.1 (\d\d\d) ")
# As much as can be the beginning of a status line, and no whole one.
_TAIL = len(b"HTTP/1.1 200 ") - 1
_PIECE = 1 << 18
_PATIENCE_SECONDS = 60.0


class _Connection:
    """One connection with one block under way."""

    def __init__(self, port: int, block: Block) -> None:
        self.socket = connected(port, timeout=_PATIENCE_SECONDS)
        self.socket.setblocking(False)
        self.begin(block)

    def begin(self, block: Block) -> None:
        self.block = block
        self.statuses: list[bytes] = []
        self._tail = b""
        self._unsent = memoryview(block.fresh())

    @property
    def has_more_to_send(self) -> bool:
        return bool(self._unsent)

    def send(self) -> None:
        self._unsent = self._unsent[self.socket.send(self._unsent) :]

    def receive(self) -> bool:
        """Take what came; False if the connection has ended."""
        data = self.socket.recv(_PIECE)
        text = self._tail + data
        self.statuses += _STATUS.findall(text)
        self._tail = text[-_TAIL:]
        return bool(data)


class Pipelining:
    """Sends blocks.

    Args:
        port: of the server on 127.0.0.1.
        tally: where answers are counted.
        connections: over how many.

    """

    def __init__(self, port: int, tally: Tally, *, connections: int = 8) -> None:
        self._port = port
        self._tally = tally
        self._connections = connections
        self._selector = selectors.DefaultSelector()

    def run(self, blocks: Iterator[Block]) -> None:
        """Send all blocks and wait for all their answers; ServerGone if those stop coming."""
        try:
            for block in (next(blocks, None) for _ in range(self._connections)):
                if block is not None:
                    self._open(block)
            while self._selector.get_map():
                events = self._selector.select(_PATIENCE_SECONDS)
                if not events:
                    raise ServerGone(f"the server has not answered for {_PATIENCE_SECONDS:g} s")
                for key, mask in events:
                    self._serve(key.data, mask, blocks)
        finally:
            for key in list((self._selector.get_map() or {}).values()):
                key.data.socket.close()
            self._selector.close()

    def _open(self, block: Block) -> None:
        connection = _Connection(self._port, block)
        self._selector.register(connection.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, connection)

    def _serve(self, connection: _Connection, mask: int, blocks: Iterator[Block]) -> None:
        try:
            if mask & selectors.EVENT_WRITE:
                connection.send()
                if not connection.has_more_to_send:
                    self._selector.modify(connection.socket, selectors.EVENT_READ, connection)
            is_open = connection.receive() if mask & selectors.EVENT_READ else True
        except BlockingIOError:
            return
        except OSError:
            is_open = False
        if not is_open:
            self._give_up(connection, blocks)
        elif len(connection.statuses) >= len(connection.block):
            self._finish(connection, blocks)

    def _finish(self, connection: _Connection, blocks: Iterator[Block]) -> None:
        self._tally.note_block(connection.block, connection.statuses)
        block = next(blocks, None)
        if block is None:
            self._close(connection)
            return
        connection.begin(block)
        self._selector.modify(connection.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, connection)

    def _give_up(self, connection: _Connection, blocks: Iterator[Block]) -> None:
        """Note that a connection ended with requests unanswered, and go on with another."""
        answered = len(connection.statuses)
        kind = connection.block.kinds[answered]
        self._tally.note_fault(f"the connection ended under {kind.name!r}, after {answered} answers")
        self._close(connection)
        block = next(blocks, None)
        if block is not None:
            self._open(block)

    def _close(self, connection: _Connection) -> None:
        self._selector.unregister(connection.socket)
        connection.socket.close()
