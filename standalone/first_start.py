"""What the first start does for a newcomer: a sample fleet as a model of its own, and the next thing to type."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpx

from standalone.fleet import sample_fleet

SAMPLE_MODEL = "sample-fleet"
_POLL_SECONDS = 0.1
_LONGEST_START = 120.0


def ingest_sample_fleet(
    url: str, report: Callable[[str], None], stopping: threading.Event, *, started: float, wanted: bool
) -> None:
    """Wait until the server answers, say so, and ingest the sample fleet unless it was before.

    The idempotency key makes a start that is cut off harmless: the next one continues where it stopped.
    """
    with httpx.Client(base_url=url, timeout=60) as client:
        if not _wait_until_ready(client, stopping):
            return
        report(f"ready        {url} in {time.monotonic() - started:.1f} s (docs: {url}/docs)")
        try:
            if wanted and SAMPLE_MODEL not in _model_names(client):
                _ingest(client, report)
            if SAMPLE_MODEL in _model_names(client):
                report(_invitation(url))
        except httpx.HTTPError as error:
            if not stopping.is_set():
                report(f"the sample fleet was not ingested ({error}); the next start tries again")


def _wait_until_ready(client: httpx.Client, stopping: threading.Event) -> bool:
    deadline = time.monotonic() + _LONGEST_START
    while not stopping.wait(_POLL_SECONDS) and time.monotonic() < deadline:
        try:
            if client.get("/health/ready").status_code == httpx.codes.OK:
                return True
        except httpx.TransportError:
            continue
    return False


def _model_names(client: httpx.Client) -> set[str]:
    return {model["model"] for model in client.get("/models").raise_for_status().json()["models"]}


def _ingest(client: httpx.Client, report: Callable[[str], None]) -> None:
    records = sample_fleet(datetime.now(UTC))
    report(f"first start  training the model {SAMPLE_MODEL} on {len(records)} records of a sample fleet")
    began = time.monotonic()
    body = {"model": SAMPLE_MODEL, "records": records}
    answer = client.post("/ingest", json=body).raise_for_status().json()
    report(f"first start  {SAMPLE_MODEL} {answer['model_version']} trained in {time.monotonic() - began:.1f} s")


def _invitation(url: str) -> str:
    """Return a score request that works as it is."""
    record = sample_fleet(datetime.now(UTC))[-1] | {"model": SAMPLE_MODEL}
    return f"try it       curl -s {url}/score -H 'Content-Type: application/json' -d '{json.dumps(record)}'"
