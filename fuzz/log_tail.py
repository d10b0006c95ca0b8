"""What a server's log has got since one looked last, as faults: a line that must not be there says so at once."""

from __future__ import annotations

from pathlib import Path

from fuzz.log_lines import LogCheck


class LogTail:
    """Reads a log on while it grows.

    Args:
        path: the file; it may not be there yet.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def faults(self) -> dict[str, str]:
        """Return the kinds of faults in the whole lines since the last call, with an example of each."""
        if not self._path.exists():
            return {}
        with self._path.open("rb") as log:
            log.seek(self._position)
            lines, _, unfinished = log.read().rpartition(b"\n")
            self._position = log.tell() - len(unfinished)
        check = LogCheck()
        for line in lines.splitlines():
            check.take(line)
        return check.examples
