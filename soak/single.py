"""Sends requests that have a connection for themselves, many side by side, each answered, cut off or waited out."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Sequence

from soak.connecting import connected
from soak.ending_kinds import Ending
from soak.kinds import ABORTED
from soak.tally import Tally

_STATUS = re.compile(rb"HTTP/1\.1 (\d\d\d) ")
_TIMEOUT_SECONDS = 30.0


def send_side_by_side(port: int, endings: Sequence[Ending], tally: Tally) -> None:
    """Send all of them, each over its own connection, then await all answers; ServerGone if it takes no connections."""
    with contextlib.ExitStack() as stack:
        open_ones = []
        for ending in endings:
            connection = connected(port, timeout=_TIMEOUT_SECONDS)
            stack.callback(connection.close)
            open_ones.append((ending, connection))
        for ending, connection in open_ones:
            with contextlib.suppress(OSError):  # refused before all was sent: the answer says why
                connection.sendall(ending.kind.request)
            if ending.kind.status == ABORTED:
                connection.close()
        for ending, connection in open_ones:
            tally.note(ending.kind, ABORTED if ending.kind.status == ABORTED else _last_status(connection, ending))


def _last_status(connection: socket.socket, ending: Ending) -> int:
    """Return the status of the last answer that is expected; :data:`ABORTED` if there is none."""
    expected = 1 + ending.interim
    came = b""
    statuses: list[bytes] = []
    while len(statuses) < expected:
        try:
            data = connection.recv(65536)
        except OSError:
            break
        if not data:
            break
        came += data
        statuses = _STATUS.findall(came)
    return int(statuses[-1]) if statuses else ABORTED
