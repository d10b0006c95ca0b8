"""`python -m predictor` with three defects: it leaks, answers one route wrongly, and logs a line without its request.

Run as a program. With ``dies`` it has another defect instead: it ends by SIGKILL under its load.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import sys
from typing import Any

from contract import json_logs
from predictor.__main__ import main
from predictor.facade.health import HealthService
from predictor.hotpath.score_route import ScoreRoute
from predictor.problems import Answer

_LEAKED_BYTES = 16 * 1024
# Past the warm-up.
_DIES_AFTER = 4_000
_leaked: list[bytearray] = []


def _leak() -> None:
    quick = ScoreRoute.quick

    def leaking(self: ScoreRoute, request: Any) -> Answer | None:
        _leaked.append(bytearray(b"x" * _LEAKED_BYTES))
        return quick(self, request)

    ScoreRoute.quick = leaking  # type: ignore[method-assign]


def _answer_wrongly() -> None:
    def wrong(_self: HealthService) -> Answer:
        return Answer(202, b"{}")

    HealthService.alive = wrong  # type: ignore[method-assign, assignment]


def _log_without_request() -> None:
    ready = HealthService.ready

    def talking(self: HealthService) -> Answer:
        token = json_logs.request_id.set(None)
        logging.getLogger("predictor.facade").info("somebody asked")
        json_logs.request_id.reset(token)
        return ready(self)

    HealthService.ready = talking  # type: ignore[method-assign]


def _die() -> None:
    quick = ScoreRoute.quick
    left = itertools.count(_DIES_AFTER, -1)

    def dying(self: ScoreRoute, request: Any) -> Answer | None:
        if not next(left):
            os.kill(os.getpid(), signal.SIGKILL)
        return quick(self, request)

    ScoreRoute.quick = dying  # type: ignore[method-assign]


if __name__ == "__main__":
    dies = "dies" in sys.argv[1:]
    del sys.argv[1:]
    if dies:
        _die()
    else:
        _leak()
        _answer_wrongly()
        _log_without_request()
    raise SystemExit(main())
