"""What the first start does for a newcomer: a sample fleet as a model of its own, and the next thing to type."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from standalone.access import AccessSettings, first_start_token, greeting_token
from standalone.client import Client, ClientError, Ingested, Refused
from standalone.fleet import sample_fleet

SAMPLE_MODEL = "sample-fleet"
# The batch and its key are the same at every start, so one that was cut off in the middle trains nothing twice.
_SAMPLE_TIME = datetime(2024, 1, 15, 10, 0, tzinfo=UTC)
_SAMPLE_KEY = "telltale-sample-fleet-1"
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class FirstUse:
    """What a newcomer is to be told.

    Args:
        url: where the server answers, as seen from here.
        public_url: where the person reaches it.
        access: how tokens are made.
        wants_fleet: whether the sample fleet is to be ingested.
        shows_token: whether to print a token, since the person knows no secret to make one.

    """

    url: str
    public_url: str
    access: AccessSettings
    wants_fleet: bool
    shows_token: bool


def greet(first_use: FirstUse, started: float, report: Callable[[str], None], stopping: threading.Event) -> None:
    """Wait until the server answers, say so, and ingest the sample fleet unless it was before.

    Args:
        first_use: what to tell.
        started: the monotonic time at which the start began, in seconds.
        report: takes one line for the person.
        stopping: set when all is to end.

    """
    url = first_use.url
    if not _wait_until_ready(url, stopping):
        if not stopping.is_set():
            report(f"not ready after {_PATIENCE_SECONDS:.0f} s; {url}/health/ready says what it waits for")
        return
    report(f"ready        {url} in {time.monotonic() - started:.1f} s (docs: {first_use.public_url}/docs)")
    token = first_start_token(first_use.access)
    if token is None and first_use.access.authenticates:
        report("tokens       come from the issuer of TELLTALE_AUTH_JWKS_URL, so the sample fleet was left out")
        return
    shown_token = greeting_token(first_use.access) if first_use.shows_token else None
    if shown_token is not None:
        report(f"token        {shown_token}")
        report("             for a day, by the secret in the data folder; `telltale token --hours 720` makes another")
    try:
        with Client(url, token=token) as client:
            if first_use.wants_fleet and SAMPLE_MODEL not in _model_names(client):
                _ingest(client, report, stopping)
            if SAMPLE_MODEL in _model_names(client):
                _invite(client, first_use.public_url, shown_token or (token and "$(telltale token)"), report, stopping)
    except ClientError as error:
        if not stopping.is_set():
            report(f"the sample fleet was not ingested ({error}); the next start tries again")


def _wait_until_ready(url: str, stopping: threading.Event) -> bool:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    with httpx.Client(base_url=url, timeout=10, trust_env=False) as client:
        while not stopping.wait(_POLL_SECONDS) and time.monotonic() < deadline:
            try:
                if client.get("/health/ready").status_code == httpx.codes.OK:
                    return True
            except httpx.TransportError:
                continue
    return False


def _model_names(client: Client) -> set[str]:
    return {model["model"] for model in client.models()["models"]}


def _invite(
    client: Client, url: str, token: str | None, report: Callable[[str], None], stopping: threading.Event
) -> None:
    """Offer a request once it has an answer: trained is not served, and the gate may be slow or refuse."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not _is_served(client):
        if time.monotonic() > deadline:
            report(f"first start  {SAMPLE_MODEL} is not served yet; {url}/models tells when it is")
            return
        if stopping.wait(_POLL_SECONDS):
            return
    report(_invitation(url, token))


def _is_served(client: Client) -> bool:
    models = client.models()["models"]
    return any(model["model"] == SAMPLE_MODEL and model["default_version"] is not None for model in models)


def _ingest(client: Client, report: Callable[[str], None], stopping: threading.Event) -> None:
    records = sample_fleet(_SAMPLE_TIME)
    report(f"first start  training the model {SAMPLE_MODEL} on {len(records)} records of a sample fleet")
    began = time.monotonic()
    ingested = None
    while ingested is None and not stopping.is_set():
        ingested = _attempt(client, records)
        if ingested is None:
            stopping.wait(1.0)
    if ingested is not None:
        report(f"first start  {SAMPLE_MODEL} {ingested.model_version} trained in {time.monotonic() - began:.1f} s")


def _attempt(client: Client, records: list[dict[str, object]]) -> Ingested | None:
    """Ingest, or return None while the training that an earlier start began still runs."""
    try:
        return client.ingest(records, model=SAMPLE_MODEL, key=_SAMPLE_KEY)
    except Refused as refusal:
        if refusal.status == httpx.codes.CONFLICT:
            return None
        raise


def _invitation(url: str, token: str | None) -> str:
    """Return a score request that works as it is; ``token`` may be a command of the shell that makes one."""
    record = sample_fleet(_SAMPLE_TIME)[-1] | {"model": SAMPLE_MODEL}
    header = "" if token is None else f' -H "Authorization: Bearer {token}"'
    return f"try it       curl -s {url}/score{header} -H 'Content-Type: application/json' -d '{json.dumps(record)}'"
