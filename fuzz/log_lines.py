"""What a line of the server's log must be: JSON, and with the id of the request it is about. PURE."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

import msgspec

# Lines about no request, by logger: how the server starts and stops, and what it does between requests.
_ABOUT_THE_SERVER = {
    "uvicorn.error": r"Started server process|Waiting for application (startup|shutdown)|Application \w+ complete"
    r"|Shutting down|Finished server process|Waiting for (connections to close|background tasks)",
    "predictor.server": r"listening on ",
    "predictor.v2": r"listening on ",
    "predictor.models.loaded_versions": r"model \S+ is served by version ",
    "predictor.access": r"\d+ lines of the access log were dropped",
    "procrastinate": r"Adding tasks from blueprint",
    "scoring.kernel": r"scoring ",
}
_ALLOWED = {logger: re.compile(pattern) for logger, pattern in _ABOUT_THE_SERVER.items()}
_SHOWN = 400


class _Line(msgspec.Struct, gc=False):
    level: str
    logger: str
    message: str
    request_id: str = ""
    exc_info: str = ""


_decode = msgspec.json.Decoder(_Line).decode


@dataclass
class LogCheck:
    """Counts the lines of a log, and keeps the first of each kind that should not be there.

    Args:
        lines: how many came.
        faults: how many of each kind were wrong.
        examples: one line of each of these kinds, cut to a bearable length.
        dropped: notices that lines of the access log were dropped.

    """

    lines: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    dropped: int = 0

    def take(self, line: bytes) -> None:
        """Check one line, without its newline."""
        self.lines += 1
        try:
            read = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._fault("no line of JSON with level, logger and message", line)
            return
        if not read.request_id:
            if not is_about_the_server(read.logger, read.message):
                self._fault(f"no request id ({read.logger})", line)
            elif read.logger == "predictor.access":
                self.dropped += 1
        if read.level in ("error", "critical"):
            self._fault(f"an error ({cause_of(read.exc_info) or read.logger})", line)

    def _fault(self, kind: str, line: bytes) -> None:
        self.faults[kind] += 1
        self.examples.setdefault(kind, line[:_SHOWN].decode(errors="replace"))


def is_about_the_server(logger: str, message: str) -> bool:
    """Tell whether a line needs no request id: it tells how the server starts, stops or what it loads."""
    return any(
        (logger == name or logger.startswith(f"{name}.")) and pattern.match(message)
        for name, pattern in _ALLOWED.items()
    )


def cause_of(traceback: str) -> str:
    """Return the last place that a traceback names, as `file.py:12 ValueError`; empty for no traceback."""
    places = re.findall(r'File "[^"]*?([^"/]+)", line (\d+)', traceback)
    if not places:
        return ""
    file, number = places[-1]
    error = traceback.strip().splitlines()[-1].partition(":")[0]
    return f"{file}:{number} {error}"


def error_in(text: str) -> str:
    """Return the cause of the last error in a piece of log, or an empty string."""
    causes = []
    for line in text.splitlines():
        try:
            read = _decode(line.encode())
        except msgspec.DecodeError:
            continue
        if read.level in ("error", "critical"):
            causes.append(cause_of(read.exc_info) or read.message)
    return causes[-1] if causes else ""
