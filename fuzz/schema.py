"""schemathesis over the running server's `/openapi.json`: every operation that is documented, with all its checks.

It runs as the program that it is, so that its report is the one that its documentation describes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fuzz.aftermath import Aftermath
from fuzz.answers import Complaint
from fuzz.predictor_process import PredictorProcess
from fuzz.rounds import Progress
from fuzz.tally import Tally

NAME = "openapi"
_SETTINGS = Path(__file__).with_name("schemathesis.toml")
_HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
_GRACE_SECONDS = 120.0
_LOOK_SECONDS = 0.25
_WORDS = 6000


def run(
    server: PredictorProcess, folder: Path, *, seconds: float, seed: int, progress: Progress, name: str = NAME
) -> Tally:
    """Run it for some seconds and return what came of it; ``folder`` is where its reports go."""
    tally = Tally(name)
    aftermath = Aftermath(server, tally)
    log = server.log_size()
    report, said = folder / "schemathesis.json", folder / "schemathesis.txt"
    status = _run(_command(server, report, seconds=seconds, seed=seed), said, seconds, tally, progress)
    text = said.read_text(errors="replace")
    if status not in (0, 1) or not report.exists():
        tally.find("schemathesis did not run", text[-_WORDS:], b"")
        return tally
    _read(json.loads(report.read_text()), text, tally)
    _count(server.said_since(log), tally)
    died = server.end_of_life()
    wrong = aftermath.judge(None if died is None else Complaint("the server died", died), dropped=died is not None)
    if wrong is not None:
        tally.find(wrong.kind, f"{wrong.detail}\n{text[-_WORDS:]}", b"")
    return tally


def _command(server: PredictorProcess, report: Path, *, seconds: float, seed: int) -> list[str]:
    options = {
        "--checks": "all",
        "--max-time": str(max(1, int(seconds))),
        "--seed": str(seed),
        "--generation-database": "none",
        "--report": "json",
        "--report-json-path": str(report),
        "--output-sanitize": "false",
        "--request-timeout": "30",
    }
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(_SETTINGS), "--no-color", "run"]
    listed = [part for option in options.items() for part in option]
    listed += [part for header in server.credentials for part in ("--header", ": ".join(header))]
    return [*command, f"http://127.0.0.1:{server.port}/openapi.json", "--continue-on-failure", *listed]


def _run(command: list[str], said: Path, seconds: float, tally: Tally, progress: Progress) -> int:
    started = time.monotonic()
    with said.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            cwd=said.parent,
            env=os.environ | {"SCHEMATHESIS_HOOKS": str(_HOOKS)},
        )
    try:
        while process.poll() is None and tally.seconds < seconds + _GRACE_SECONDS:
            time.sleep(_LOOK_SECONDS)
            tally.seconds = time.monotonic() - started
            progress(tally)
    finally:
        process.kill()
        status = process.wait()
    return status


def _read(report: dict[str, Any], text: str, tally: Tally) -> None:
    """Take the counts and the failures of its report; the details are in what it said."""
    tally.executions = report["test_cases"]["generated"]
    _, _, details = text.partition(" FAILURES ")
    for failure in report["failures"]:
        kind = f"{failure['title']} ({', '.join(failure['operations'])})"
        tally.find(kind, details[:_WORDS], _curls(details))
    for error in report["errors"]:
        tally.find(f"schemathesis could not test: {error.get('title', error)}", str(error)[:_WORDS], b"")
    tested, selected = report["operations"]["tested"], report["operations"]["selected"]
    if tested < selected:
        tally.note = f"{tested} of {selected} operations in the time"


def _curls(details: str) -> bytes:
    """Return the commands by which the failures can be had again."""
    lines = [line.strip() for line in details.splitlines() if line.strip().startswith("curl ")]
    return "\n".join(lines).encode()


def _count(said: str, tally: Tally) -> None:
    """Count the answers in the server's access log; each kind of 5xx in it is a finding, whoever was answered so."""
    for line in said.splitlines():
        _, mark, rest = line.partition('"status":')
        if mark and '"logger":"predictor.access"' in line:
            tally.answers[f"{rest[:1]}xx"] += 1
            if rest[:1] == "5":
                written = json.loads(line)
                tally.find(f"status {written['status']} ({written['method']} {written['route']})", line, b"")
