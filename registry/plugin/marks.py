"""Marks and colours. PURE. A mark says all that its colour says: it is read without colours, and by any eyes."""

from __future__ import annotations

from dataclasses import dataclass

DIM, GOOD, BUSY, BAD = "dim", "cyan", "bold yellow", "bold red"


@dataclass(frozen=True)
class Marks:
    """What stands for a state, on a terminal that has the characters, or on one that has not."""

    done: str = "✔"
    current: str = "▶"
    open: str = "○"
    held: str = "‖"
    failed: str = "✖"
    back: str = "◀"
    none: str = "·"
    full: str = "█"
    empty: str = "░"
    arrow: str = "→"
    more: str = "…"


PLAIN = Marks("+", ">", ".", "=", "x", "<", "-", "#", ".", "->", "...")


def marks_for(encoding: str) -> Marks:
    """Return the marks that an encoding has."""
    found = Marks()
    try:
        "".join(vars(found).values()).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return found


def of_phase(phase: str, marks: Marks) -> tuple[str, str]:
    """Return a phase's mark and style."""
    known = {
        "Healthy": (marks.done, GOOD),
        "Rejected": (marks.failed, BAD),
        "RollingBack": (marks.back, BAD),
        "Paused": (marks.held, BUSY),
        "Frozen": (marks.held, BUSY),
        "AwaitingApproval": (marks.held, BUSY),
        "Pending": (marks.open, DIM),
    }
    return known.get(phase, (marks.current, BUSY))


def of_step(state: str, marks: Marks) -> tuple[str, str]:
    """Return a step's mark and style."""
    known = {"done": (marks.done, GOOD), "current": (marks.current, BUSY), "skipped": (marks.none, DIM)}
    return known.get(state, (marks.open, DIM))


def of_verdict(verdict: str, marks: Marks) -> tuple[str, str]:
    """Return a gate's mark and style."""
    known = {"passed": (marks.done, GOOD), "failed": (marks.failed, BAD), "waiting": (marks.current, BUSY)}
    return known.get(verdict, (marks.open, DIM))


def of_outcome(outcome: str, marks: Marks) -> tuple[str, str]:
    """Return a revision's mark and style."""
    known = {
        "Stable": (marks.done, GOOD),
        "Candidate": (marks.current, BUSY),
        "Rejected": (marks.failed, BAD),
        "RolledBack": (marks.back, BAD),
    }
    return known.get(outcome, (marks.none, DIM))


def of_action(state: str, marks: Marks) -> tuple[str, str]:
    """Return an action's mark and style."""
    known = {"Applied": (marks.done, GOOD), "Ignored": (marks.none, DIM)}
    return known.get(state, (marks.current, BUSY))
