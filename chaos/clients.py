"""What users do meanwhile: a fleet that delivers batches until they are taken, and one that asks for scores."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

FEATURES = 4
# What an unavailable store looks like from outside; everything else is an answer.
_AGAIN = (409, 429, 503)
_PERIOD_SECONDS = 0.05


@dataclass
class Ledger:
    """The batches that the fleet delivered: by idempotency key, the job that answers for each."""

    jobs: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Fleet:
    """Delivers batches and looks what becomes of them.

    Args:
        url: the predictor.
        ledger: takes down what was acknowledged.
        seed: of sizes and values.

    """

    def __init__(self, url: str, ledger: Ledger, seed: int) -> None:
        self._http = httpx.Client(base_url=url, timeout=40)
        self._ledger = ledger
        self._random = random.Random(seed)  # noqa: S311 - no secret, a load
        self._number = 0

    def deliver(self, model: str, *, within: float) -> str:
        """Send a batch, again and again under one idempotency key, until it is taken; return its job.

        Raises:
            TimeoutError: it was not taken in time.
            ValueError: it was refused for good, which is noted too.

        """
        self._number += 1
        mark = f"{model}-{self._number}-{self._random.getrandbits(32):08x}"
        body = {"model": model, "records": self._records(mark)}
        headers = {"Idempotency-Key": mark, "Prefer": "respond-async"}
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            try:
                answer = self._http.post("/ingest", json=body, headers=headers)
            except httpx.TransportError:
                time.sleep(0.2)
                continue
            if answer.is_success:
                job = str(answer.headers["location"].rpartition("/")[2])
                with self._ledger.lock:
                    self._ledger.jobs[mark] = job
                return job
            if answer.status_code not in _AGAIN:
                self._ledger.refused.append(f"{mark}: {answer.status_code} {answer.text[:300]}")
                raise ValueError(self._ledger.refused[-1])
            time.sleep(0.2)
        raise TimeoutError(f"{mark} was not taken within {within:.0f} s")

    def state(self, job: str) -> dict[str, Any] | None:
        """Return what `GET /ingest/{job}` says, or None while it cannot say."""
        try:
            answer = self._http.get(f"/ingest/{job}")
        except httpx.TransportError:
            return None
        return dict(answer.json()) if answer.is_success else None

    def settled(self, job: str, *, within: float) -> dict[str, Any]:
        """Return the job's last state, once nothing more happens to it; TimeoutError if that takes longer."""
        deadline = time.monotonic() + within
        said: dict[str, Any] | None = None
        while time.monotonic() < deadline:
            said = self.state(job)
            if said is not None and said["state"] in ("done", "failed"):
                return said
            time.sleep(0.1)
        raise TimeoutError(f"job {job} did not end within {within:.0f} s; it said {said}")

    def _records(self, mark: str) -> list[dict[str, Any]]:
        start = datetime.now(UTC) - timedelta(hours=1)
        return [
            {
                "vehicle_id": f"{mark}-{number}",
                "timestamp": (start + timedelta(seconds=number)).isoformat(),
                "feature_vector": [self._random.gauss(0, 1) for _ in range(FEATURES)],
            }
            for number in range(self._random.randint(50, 1500))
        ]


class Scorer(threading.Thread):
    """Asks for a score twenty times a second and notes every answer that is none."""

    def __init__(self, url: str, model: str) -> None:
        super().__init__(daemon=True, name="scorer")
        self._http = httpx.Client(base_url=url, timeout=5)
        self._model = model
        self._ended = threading.Event()
        self.answered = 0
        self.failed: list[str] = []

    def run(self) -> None:
        """Ask until told to end."""
        while not self._ended.wait(_PERIOD_SECONDS):
            fault = self._ask()
            if fault is None:
                self.answered += 1
            else:
                self.failed.append(f"{datetime.now(UTC):%H:%M:%S.%f} {fault}")

    def end(self) -> None:
        """Stop asking."""
        self._ended.set()
        self.join()

    def _ask(self) -> str | None:
        record = {
            "vehicle_id": "x",
            "timestamp": "2026-01-15T10:00:00Z",
            "feature_vector": [0.0] * FEATURES,
            "model": self._model,
        }
        try:
            answer = self._http.post("/score", json=record)
        except httpx.TransportError as error:
            return f"{type(error).__name__}: {error}"
        return None if answer.is_success else f"{answer.status_code}: {answer.text[:200]}"
