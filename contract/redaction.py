"""What is left out of a message before people see it."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"//[^/\s@]+@")


def without_credentials(text: str) -> str:
    """Return ``text`` with the user and password taken out of each URL in it; drivers like to repeat theirs."""
    return _CREDENTIALS.sub("//", text)
