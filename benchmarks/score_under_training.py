"""What training does to scoring: p99 of `/score` at a steady 200 requests a second, without and with one beside it.

One server, in turn; the training is of 100,000 records of 8 features.

The window begins when the batch is stored (its 202 came) and ends with its job, so it holds the training, the gate and
the switch of versions. What taking the large batch in does to scoring is reported beside it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np

from benchmarks.server import Server, temporary_server

RATE = 200.0
RECORDS, FEATURES = 100_000, 8
_MODEL = "bench"


def run(rounds: int = 5) -> dict[str, float]:
    """Return medians over the rounds: p99s in milliseconds and their ratios to the quiet p99 of the same round."""
    with temporary_server() as server:
        server.start()
        _ingest_and_wait(server, _body(500, seed=0))
        quiet, training, taking_in, whole, seconds = [], [], [], [], []
        for number in range(rounds):
            due, latency = _loaded(server, 12.0, None)
            quiet.append(_p99(latency))
            marks: dict[str, float] = {}
            due, latency = _loaded(server, 20.0, marks, _body(RECORDS, seed=number + 1))
            during = (due >= marks["accepted"]) & (due <= marks["done"])
            training.append(_p99(latency[during]))
            taking_in.append(_p99(latency[(due >= marks["sent"]) & (due <= marks["accepted"])]))
            whole.append(_p99(latency[(due >= marks["sent"]) & (due <= marks["done"])]))
            seconds.append(marks["done"] - marks["accepted"])
            _say(
                f"round {number + 1}: quiet {quiet[-1]:.2f} ms, training {training[-1]:.2f} ms for {seconds[-1]:.1f} s"
            )
    return {
        "score_p99_quiet_ms": statistics.median(quiet),
        "score_p99_training_ms": statistics.median(training),
        "score_p99_training_ratio": statistics.median(t / q for t, q in zip(training, quiet, strict=True)),
        "score_p99_with_intake_ratio": statistics.median(w / q for w, q in zip(whole, quiet, strict=True)),
        "score_p99_taking_in_100k_ms": statistics.median(taking_in),
        "training_100k_s": statistics.median(seconds),
    }


def _loaded(
    server: Server, seconds: float, marks: dict[str, float] | None, body: bytes | None = None
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Run the load, and a training beside it if there is a ``body``; fills ``marks`` with the times of its steps."""
    command = [sys.executable, "-m", "benchmarks.steady_load", server.url, str(RATE), str(seconds), _MODEL]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    start = time.perf_counter() + 0.15  # the load's own start-up, about
    if marks is not None and body is not None:
        time.sleep(2)
        _ingest_and_wait(server, body, marks, start)
    output, _ = process.communicate(timeout=seconds + 60)
    result = json.loads(output)
    return np.array(result["due_s"]), np.array(result["latency_ms"])


def _ingest_and_wait(server: Server, body: bytes, marks: dict[str, float] | None = None, start: float = 0.0) -> None:
    marks = {} if marks is None else marks
    marks["sent"] = time.perf_counter() - start
    headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
    answer = httpx.post(f"{server.url}/ingest", content=body, headers=headers, timeout=120).raise_for_status()
    marks["accepted"] = time.perf_counter() - start
    while not httpx.get(f"{server.url}{answer.headers['Location']}", timeout=30).json()["served"]:
        time.sleep(1.0)
    marks["done"] = time.perf_counter() - start


def _body(records: int, *, seed: int) -> bytes:
    X = np.random.default_rng(seed).normal(size=(records, FEATURES)).round(6)
    stamp = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    rows = [{"vehicle_id": f"VH-{i}", "timestamp": stamp, "feature_vector": row} for i, row in enumerate(X.tolist())]
    return json.dumps({"model": _MODEL, "records": rows}).encode()


def _p99(latency: np.ndarray[Any, Any]) -> float:
    return float(np.quantile(latency, 0.99))


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    json.dump(run(*(int(argument) for argument in sys.argv[1:])), sys.stdout, indent=1)
