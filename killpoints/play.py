"""Plays a scenario to its end, with a controller that may die on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from killpoints.clock import HandClock
from killpoints.errors import HarnessError
from killpoints.hand import Looks, Turn
from killpoints.scenario import Scenario, Stage, Step
from killpoints.seam import Crash

# A look that is due later than this is due for a warm revision's end or a freeze window's, not for a step.
_REST_SECONDS = 2.0
_MOST_LOOKS = 400


class NeverAtRest(HarnessError):
    """The controller did not come to rest where the scenario says it would."""


class HandStage(Stage, Protocol):
    """A stage for a controller that is driven by hand."""

    def settle(self) -> None:
        """Let pods follow what was written."""


@dataclass
class Playing:
    """One run of a scenario.

    Args:
        scenario: what is played.
        stage: where.
        clock: the time of day.
        begin: makes a controller.
        at_rest: called after each step.

    """

    scenario: Scenario
    stage: HandStage
    clock: HandClock
    begin: Callable[[], Looks]
    at_rest: Callable[[], None]
    crashes: int = 0
    labels: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    controller: Looks | None = None

    def play(self, steps: tuple[Step, ...]) -> None:
        """Do steps, each when the one before has come to rest; a crash may cut them short."""
        for step in steps:
            step.do(self.stage)
            crashes = self.crashes
            if not self.rest(step.until):
                return
            self.at_rest()
            if crashes != self.crashes and self.scenario.while_down is not None:
                return

    def rest(self, until: str | None) -> bool:
        """Look until nothing is to be done; NeverAtRest where that is not in phase ``until``."""
        turn = Turn(None, None, ())
        for _ in range(_MOST_LOOKS):
            try:
                turn = self._look()
            except Crash:
                self.crashes += 1
                self.end()
                if self.scenario.while_down is not None:
                    self.scenario.while_down.do(self.stage)
                    until = self.scenario.while_down.until
                continue
            if self._is_at_rest(turn, until):
                return True
        raise NeverAtRest(f"it does not come to rest in {until}: {turn}")

    def end(self) -> None:
        """Let the controller go."""
        if self.controller is not None:
            self.controller.close()
            self.controller = None

    def _look(self) -> Turn:
        if self.controller is None:
            self.controller = self.begin()
        turn = self.controller.look()
        self.labels += turn.labels
        return turn

    def _is_at_rest(self, turn: Turn, until: str | None) -> bool:
        """Tell whether a look found nothing to do; else let pass what the next one waits for."""
        if turn.error:
            self.errors.append(turn.error)
        if turn.labels or turn.error:
            self.stage.settle()
            return False
        if turn.phase == until and (turn.again_in is None or turn.again_in >= _REST_SECONDS):
            return True
        if turn.again_in is None:
            raise NeverAtRest(f"it rests in {turn.phase}, and not in {until}")
        self.clock.advance(turn.again_in)
        return False
