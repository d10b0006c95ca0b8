"""Connections to the server under load."""

from __future__ import annotations

import socket

from soak.errors import ServerGone


def connected(port: int, *, timeout: float) -> socket.socket:
    """Return a new connection that waits at most ``timeout`` seconds; ServerGone if the server takes none."""
    try:
        connection = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    except OSError as refusal:
        raise ServerGone(f"the server takes no connection: {refusal}") from refusal
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
