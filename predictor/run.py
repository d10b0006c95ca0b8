"""The predictor's composition root: reads the settings, sets up logs, composes, serves."""

from __future__ import annotations

import sys

from prometheus_client import disable_created_metrics
from pydantic import ValidationError

from contract.json_logs import configure_logging
from predictor.allocator import keep_large_blocks, limit_arenas
from predictor.composition import build
from predictor.errors import CannotListen
from predictor.security.errors import SecurityMisconfigured
from predictor.server import build_server, listening_socket
from predictor.settings import PredictorSettings
from store.errors import StoreUnavailable

REFUSED = 2


def run(*, fd: int | None = None) -> int:
    """Serve until told to stop; returns the exit status: 0, or 2 if the settings do not allow to start."""
    try:
        settings = PredictorSettings()
    except ValidationError as refusal:
        return _refused(*(_sentence(fault["loc"], fault["msg"]) for fault in refusal.errors()))
    configure_logging(settings.log_level)
    limit_arenas()
    keep_large_blocks()
    # Else every counter has one more series, of no use to anyone.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's function has no types
    # A thread that computes gives the interpreter up after this many seconds when the event loop wants it. The default
    # of 5 ms is longer than a whole answer of /score.
    sys.setswitchinterval(0.0005)
    try:
        predictor = build(settings)
        listening = listening_socket(settings, fd=fd)
    except (CannotListen, StoreUnavailable, SecurityMisconfigured) as refusal:
        return _refused(str(refusal))
    build_server(predictor, settings).run(sockets=[listening])
    return 0 if predictor.failure is None else _refused(str(predictor.failure))


def _refused(*sentences: str) -> int:
    sys.stderr.write("".join(f"error: {sentence}\n" for sentence in sentences))
    return REFUSED


def _sentence(place: tuple[int | str, ...], message: str) -> str:
    text = message.removeprefix("Value error, ")
    if not place:
        return text
    name = str(place[0]).upper()
    return f"{name if name == 'DATABASE_URL' else f'TELLTALE_{name}'}: {text}"
