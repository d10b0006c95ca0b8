"""The command: what it prints, what it keeps, and its exit status."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from fuzz import __main__ as command
from fuzz import campaign
from fuzz.campaign import TARGETS, Plan
from fuzz.report import Report
from fuzz.tally import Tally


def found(*tallies: Tally) -> object:
    """A run that comes to these tallies."""

    def run(_plan: Plan, _report: Report) -> Sequence[Tally]:
        return list(tallies)

    return run


def test_a_finding_is_kept_with_its_seed_and_the_status_is_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tally = Tally("forest-file", executions=3)
    tally.find("ValueError: no", "where it was", b"\xba and more")
    tally.find("ValueError: no", "where it was", b"\xba")
    monkeypatch.setattr(command, "run", found(tally, Tally("token", executions=4)))
    assert command.main(["--seed", "77", "--keep", str(tmp_path / "kept")], {}) == 1
    (data,) = (tmp_path / "kept").glob("forest-file-*.bin")
    assert data.read_bytes() == b"\xba"
    words = data.with_suffix(".txt").read_text()
    assert f"make fuzz ARGS='--seed 77 --replay {data}'" in words
    said = capsys.readouterr().out
    assert "seed 77" in said
    assert "7 inputs: 0 answers of 5xx, 0 crashes, 0 hangs, 1 findings" in said
    assert str(data) in said.replace("\n", "")


@pytest.mark.parametrize("answers", [{"5xx": 1}, {"UNAVAILABLE": 1}, {"INTERNAL": 2}])
def test_an_answer_that_is_the_servers_fault_fails_a_run_without_findings(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, int]
) -> None:
    tally = Tally("x")
    tally.answers.update(answers)
    monkeypatch.setattr(command, "run", found(tally))
    assert command.main(["--seed", "1"], {}) == 1


def test_a_run_without_findings_ends_with_0(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally("x")
    tally.answers.update({"2xx": 3, "4xx": 2, "OK": 1})
    monkeypatch.setattr(command, "run", found(tally))
    assert command.main([], {}) == 0


def test_the_time_comes_from_the_environment_and_the_option_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[Plan] = []

    def run(plan: Plan, _report: Report) -> Sequence[Tally]:
        plans.append(plan)
        return []

    monkeypatch.setattr(command, "run", run)
    command.main([], {})
    command.main([], {"FUZZ_SECONDS": "1200"})
    command.main(["--seconds", "5"], {"FUZZ_SECONDS": "1200"})
    assert [plan.seconds for plan in plans] == [60, 1200, 5]
    assert plans[0].seed != plans[1].seed
    assert sum(plans[0].seconds_of(target) for target in TARGETS) == pytest.approx(60)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "many"])
def test_a_time_that_is_none_is_refused(seconds: str) -> None:
    with pytest.raises(SystemExit) as refusal:
        command.main([], {"FUZZ_SECONDS": seconds})
    assert refusal.value.code == 2


def test_a_file_that_no_run_kept_is_not_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--replay", str(tmp_path / "forest-file-1.bin")], {}) == 2
    assert "no file that a run kept" in capsys.readouterr().out.replace("\n", "")


def test_a_kept_input_of_a_search_is_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "token-12345678.bin"
    kept.write_bytes(b"x")
    assert command.main(["--replay", str(kept)], {}) == 0
    assert "nothing is wrong with it" in capsys.readouterr().out


def test_every_target_stands_in_the_help_and_has_its_share() -> None:
    assert sum(target.share for target in TARGETS) == pytest.approx(1)
    assert {target.mode for target in TARGETS} == {*campaign.MODES, None}


@pytest.mark.integration
def test_a_short_run_against_the_real_server_is_clean() -> None:
    """A whole run has all targets, and takes a minute at least."""
    options = ["--seed", "1", "--seconds", "3", "--only", "http-bodies-open", "http-heads-open", "grpc-open"]
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", *options], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 answers of 5xx, 0 crashes, 0 hangs, 0 findings; seed 1" in done.stdout
    assert done.stderr == ""
