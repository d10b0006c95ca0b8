"""The API server's own record of who wrote what, where there is one beside KUBECONFIG."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path


class AuditLog:
    """A log of audit events, one JSON document a line.

    Args:
        path: of the log; None for `audit.log` beside KUBECONFIG. Where there is none, nothing is known.

    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or Path(os.environ.get("KUBECONFIG", "")).with_name("audit.log")

    def position(self) -> int | None:
        """Return where the log ends now; None where there is none."""
        return self._path.stat().st_size if self._path.is_file() else None

    def writes(self, user: str, since: int) -> Counter[str]:
        """Return the writes of a user after a position that the API server did, by verb and resource."""
        found: Counter[str] = Counter()
        with self._path.open("rb") as log:
            log.seek(since)
            for line in log:
                if not line.endswith(b"\n"):
                    break  # it is being written
                event = json.loads(line)
                done = event["stage"] == "ResponseComplete" and event["responseStatus"]["code"] < 300
                if done and event["user"]["username"] == user:
                    found[f"{event['verb']} {event['objectRef']['resource']}"] += 1
        return found
