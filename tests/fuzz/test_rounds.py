"""The search: a seed decides what is drawn, and what fails is kept small."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from fuzz.http_bodies import sendings
from fuzz.rounds import Outcome, Rounds
from fuzz.subject import make_subject
from fuzz.tally import Tally


def drawn(strategy: st.SearchStrategy[object], seed: int, *, seconds: float = 0.5) -> list[str]:
    """What is drawn within a time."""
    seen: list[str] = []

    def attempt(value: object) -> Outcome:
        seen.append(repr(value))
        return Outcome("ok")

    Rounds(Tally("x"), seed=seed, progress=lambda _: None).run(strategy, attempt, seconds)
    return seen


def test_the_same_seed_draws_the_same_and_another_one_does_not(tmp_path: Path) -> None:
    """The real strategy: whatever decides beside the seed would show here."""
    strategy = sendings(make_subject(tmp_path, 3))
    drawn(strategy, 5, seconds=0.1)  # what is made once, at the first use, is made
    one, same, other = (drawn(strategy, seed, seconds=0.8) for seed in (5, 5, 6))
    common = min(len(one), len(same), len(other))
    assert common > 20
    assert one[:common] == same[:common]
    assert one[:common] != other[:common]


def test_a_second_fault_is_found_behind_the_first() -> None:
    """A search does not end at what it knows."""
    tally = Tally("x")

    def attempt(value: int) -> Outcome:
        kind = "even" if value > 50 and value % 2 == 0 else "odd" if value > 1000 else ""
        return Outcome("ok", kind, "", str(value).encode())

    Rounds(tally, seed=1, progress=lambda _: None, shrink_seconds=1).run(st.integers(0, 10**6), attempt, 1.5)
    assert {kind: finding.reproducer for kind, finding in tally.findings.items()} == {"even": b"52", "odd": b"1001"}


def test_it_ends_in_time_although_everything_fails() -> None:
    tally = Tally("x")
    Rounds(tally, seed=1, progress=lambda _: None, shrink_seconds=0.1).run(
        st.integers(), lambda value: Outcome("ok", f"kind {value}"), 0.3
    )
    assert tally.findings
