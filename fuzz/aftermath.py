"""What an input did to the server beside its answer: killed it, hung it, or left in its log what must not be there."""

from __future__ import annotations

from fuzz.answers import Complaint
from fuzz.predictor_process import PredictorProcess
from fuzz.tally import Tally


class Aftermath:
    """Looks after a server while it is fuzzed, and starts it again when it is gone.

    Args:
        server: the server under test.
        tally: where its deaths and hangs are counted.

    """

    def __init__(self, server: PredictorProcess, tally: Tally) -> None:
        self._server = server
        self._tally = tally
        server.log_faults()  # what was there before is not the first input's doing

    def judge(self, wrong: Complaint | None, *, hung: bool = False, dropped: bool = False) -> Complaint | None:
        """Return what is to be said about an input.

        Args:
            wrong: what was wrong with its answer; None for nothing.
            hung: nothing came in time.
            dropped: the connection ended without an answer.

        """
        if hung:
            self._tally.hangs += 1
            if not self._server.lives():
                self._server.kill()
        elif dropped and (end := self._server.end_of_life_soon()) is not None:
            wrong = Complaint("the server died", f"{end}\n{self._server.last_words()}")
            self._tally.crashes += 1
        faults = self._server.log_faults()
        if self._server.end_of_life() is not None:
            self._server.revive()
        return _with_log(wrong, faults)

    def end(self) -> None:
        """Note what the log got after the last answer."""
        late = _with_log(None, self._server.log_faults())
        if late is not None:
            self._tally.find(late.kind, late.detail, b"")


def _with_log(wrong: Complaint | None, faults: dict[str, str]) -> Complaint | None:
    if not faults:
        return wrong
    said = ", ".join(faults)
    lines = "\n".join(faults.values())
    if wrong is None:
        return Complaint(f"in the log: {said}", lines)
    return Complaint(f"{wrong.kind}, {said}", f"{wrong.detail}\n{lines}")
