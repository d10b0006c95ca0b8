"""What ends a soak run before its time.

SoakError
├── NotStarted   the server ended while it started, or was not ready in time
└── ServerGone   it takes no connections, answers nothing any more, or its process is gone
"""

from __future__ import annotations


class SoakError(Exception):
    """Base of what ends a run."""


class NotStarted(SoakError):
    """The server ended while it started, or was not ready in time."""


class ServerGone(SoakError):
    """The server takes no connections, answers nothing any more, or its process is gone."""
