"""``python -m predictor.probe``: exits 0 if the predictor of this machine is ready, else 1 and says why not.

For a container's health check, which runs it every few seconds beside the server: it imports nothing but the standard
library, and of that what it must.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException

_SECONDS = 4.0
_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is listened on is asked by loopback


def probe(environment: Mapping[str, str]) -> str | None:
    """Return why the predictor with the settings of ``environment`` is not ready; None if it is."""
    host = environment.get("TELLTALE_HOST", "127.0.0.1")
    connection = HTTPConnection(_ANY.get(host, host), int(environment.get("TELLTALE_PORT", "8080")), timeout=_SECONDS)
    try:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        said = answer.read(10_000).decode(errors="replace")
    except (OSError, HTTPException) as failure:
        return f"no answer: {failure}"
    finally:
        connection.close()
    return None if answer.status == 200 else said


if __name__ == "__main__":
    reason = probe(os.environ)
    sys.stderr.write("" if reason is None else f"{reason}\n")
    sys.exit(reason is not None)
