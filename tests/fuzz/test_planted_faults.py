"""What is planted in a server is found, told apart, and made small."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import strategies as st

from fuzz import schema
from fuzz.cases import Case
from fuzz.http_bodies import HttpTarget, Sending
from fuzz.http_exchange import http_request
from fuzz.http_heads import HeadTarget, Wire
from fuzz.predictor_process import PredictorProcess
from fuzz.rounds import Rounds
from fuzz.tally import Finding, Tally
from tests.fuzz.conftest import Plant

TEXTS = st.text(st.characters(codec="ascii"), max_size=40)
SENDINGS = TEXTS.map(
    lambda text: Sending((Case("score", "/score", [("Accept", "*/*")], None, text.encode(), None, ""),))
)
WIRES = TEXTS.map(lambda text: Wire((http_request("POST", "/score", [], text.encode()),), ("POST",), ("/score",)))


def bodies(server: PredictorProcess) -> Tally:
    """Send bodies for a second."""
    tally = Tally("bodies")
    target = HttpTarget(server, tally, hang_seconds=0.3)
    Rounds(tally, seed=1, progress=lambda _: None, shrink_seconds=3).run(SENDINGS, target.attempt, 1)
    target.end()
    return tally


def only(tally: Tally) -> Finding:
    """The one finding."""
    (finding,) = tally.findings.values()
    return finding


def body_of(finding: Finding) -> bytes:
    """The body of the request that is kept."""
    return finding.reproducer.partition(b"\r\n\r\n")[2]


def test_an_answer_of_500_is_found_and_its_request_made_small(plant: Plant) -> None:
    tally = bodies(plant("500"))
    assert only(tally).kind == "status 500, score"
    assert body_of(only(tally)) == b"!"
    assert tally.server_errors > 0
    assert tally.crashes == tally.hangs == 0


def test_a_crash_is_found_and_the_server_started_again(plant: Plant) -> None:
    server = plant("crash")
    tally = bodies(server)
    assert only(tally).kind.startswith("the server died")
    assert "SIGABRT" in only(tally).detail
    assert b"!" in body_of(only(tally))
    assert tally.crashes == server.deaths > 0
    assert server.lives()


@pytest.mark.parametrize("fault", ["hang", "freeze"])
def test_a_hang_is_found_and_a_server_that_answers_nobody_is_started_again(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """One that hangs with one client only goes on."""
    monkeypatch.setattr("fuzz.predictor_process._LIFE_SECONDS", 0.5)
    server = plant(fault)
    tally = Tally("heads")
    target = HeadTarget(server, tally, hang_seconds=0.3)
    outcome = target.attempt(Wire((http_request("POST", "/score", [], b"!"),), ("POST",), ("/score",)))
    assert outcome.kind == "no answer in time, well-formed"
    assert tally.hangs == 1
    assert server.deaths == (fault == "freeze")
    assert server.lives()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("traceback", "in the log: an error (planted.py:7 KeyError)"),
        ("nameless", "in the log: no request id (planted)"),
    ],
)
def test_a_line_that_must_not_be_in_the_log_is_found_with_its_input(plant: Plant, fault: str, kind: str) -> None:
    finding = only(bodies(plant(fault)))
    assert finding.kind == f"{kind}"
    assert body_of(finding) == b"!"


def test_a_server_without_fault_has_no_finding(plant: Plant) -> None:
    tally = bodies(plant("none"))
    assert tally.findings == {}
    assert tally.executions == tally.answers["4xx"] > 100


def test_heads_find_a_500_too(plant: Plant) -> None:
    tally = Tally("heads")
    target = HeadTarget(plant("500"), tally)
    Rounds(tally, seed=1, progress=lambda _: None, shrink_seconds=4).run(WIRES, target.attempt, 1)
    assert only(tally).kind == "status 500, well-formed"
    assert body_of(only(tally)) == b"!"


def test_what_schemathesis_finds_is_a_finding_with_the_command_that_shows_it(plant: Plant, tmp_path: Path) -> None:
    tally = schema.run(plant("500"), tmp_path, seconds=2, seed=1, progress=lambda _: None)
    assert any("Server error" in kind for kind in tally.findings)
    assert any(b"curl" in finding.reproducer for finding in tally.findings.values())
    assert "status 500 (GET /planted)" in tally.findings
    assert tally.server_errors > 0


def test_what_was_kept_can_be_sent_again(plant: Plant) -> None:
    server = plant("500")
    request = http_request("POST", "/score", [], b"!")
    assert HttpTarget(server, Tally("bodies")).replay(request).startswith("500 ")
    assert "HTTP/1.1 500" in HeadTarget(server, Tally("heads"), hang_seconds=0.3).replay(request)
