"""A thin client of our own HTTP API, for the commands that a person types beside a running server.

It turns every way in which a request can fail into one tree of errors whose text can be shown as it is, waits for
training jobs, and comes back a bounded number of times when the server is busy. It knows nothing of fleets or files.

ClientError
├── Unreachable        nothing usable answers at the URL
├── Refused            the server answered with a problem document
├── TrainingFailed     the batch was taken, and training on it failed or takes too long
└── UnexpectedAnswer   what answered is not a Telltale server, or not one of this version
"""

from __future__ import annotations

import ipaddress
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from contract.telemetry import Limits

DEFAULT_URL = "http://127.0.0.1:8000"
ATTEMPTS = 6
LONGEST_RETRY_S = 30.0
LONGEST_TRAINING_S = 3600.0
_FIRST_POLL_S = 0.2
_SLOWEST_POLL_S = 2.0
_BUSY = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
_LIMITS = Limits()
# A chunk of records to score; small enough that a progress bar moves.
SCORE_RECORDS = 10_000
# The body's limit less room for what is put around the records, and into each of them to score.
_RECORDS_BYTES = _LIMITS.body_bytes - 4 * 1024 * 1024

Record = Mapping[str, Any]


class ClientError(Exception):
    """Base: the message is shown to the person as it is."""


class Unreachable(ClientError):
    """Nothing usable answers at the URL."""


class TrainingFailed(ClientError):
    """The batch was taken, and training on it failed or takes too long."""


class UnexpectedAnswer(ClientError):
    """What answered is not a Telltale server, or not one of this version."""


class Refused(ClientError):
    """The server answered with a problem document; the message carries its title, detail and faults.

    Args:
        status: HTTP status.
        problem: the problem document (RFC 9457), or what could be made of the answer.

    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(_told(status, problem))
        self.status = status
        self.problem = problem


@dataclass(frozen=True)
class Ingested:
    """What became of a batch.

    Args:
        model: the model that it trained.
        model_version: the version that came of it.
        record_count: records in the batch.
        served: whether ``/score`` answers with that version by default; after a job it may do so a moment later.
        reason: why it is not served, where the server says so.
        warnings: what the server remarks about the batch or the model.

    """

    model: str
    model_version: str
    record_count: int
    served: bool
    reason: str | None = None
    warnings: tuple[str, ...] = ()


class Client:
    """A connection to a server; use it in a ``with`` statement.

    Args:
        url: the server's.
        token: a bearer token, where the server asks for one.
        transport: instead of the network, in tests.
        sleep: waits so many seconds.

    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"} if token else None,
            transport=transport,
            timeout=httpx.Timeout(120.0, connect=5.0),
            trust_env=not _is_here(_checked(self.url)),
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def ingest(self, records: Sequence[Record], *, model: str, key: str | None = None) -> Ingested:
        """Send one batch and wait until it is trained.

        Args:
            records: as ``/ingest`` takes them; :func:`chunked` keeps them within its limits.
            model: the model to train.
            key: the idempotency key; a new one if None, so that a retry of ours never trains twice.

        Raises:
            ClientError: the server cannot be reached, refuses the batch, or training fails.

        """
        body = msgspec.json.encode({"records": records, "model": model})
        answer = self._send("POST", "/ingest", body, {"Idempotency-Key": key or str(uuid.uuid4())})
        told = _object(answer)
        if answer.status_code == httpx.codes.ACCEPTED:
            place = answer.headers.get("location") or f"/ingest/{quote(str(told.get('job', '')), safe='')}"
            told = {**told, **self._finished(place)}
        return _ingested(told, model=model, count=len(records))

    def score(self, records: Sequence[Record], *, model: str, model_version: str) -> list[dict[str, Any]]:
        """Return the answer for each record, in order: ``vehicle_id, anomaly_score, is_anomaly, model_version``."""
        named = [{**record, "model": model, "model_version": model_version} for record in records]
        answer = self._send("POST", "/score", msgspec.json.encode(named))
        scores = _json(answer)
        if not isinstance(scores, list) or len(scores) != len(records):
            raise UnexpectedAnswer(f"/score answered with something else than {len(records)} scores")
        return scores

    def models(self) -> dict[str, Any]:
        """Return what ``GET /models`` tells."""
        return _object(self._send("GET", "/models"))

    def _finished(self, place: str) -> dict[str, Any]:
        """Wait until the training job at ``place`` has ended well, and return its last state."""
        waited, pause = 0.0, _FIRST_POLL_S
        while True:
            job = _object(self._send("GET", place))
            if job.get("state") == "done":
                return job
            if job.get("state") == "failed":
                raise TrainingFailed(f"training failed: {job.get('error') or 'the server gives no reason'}")
            if waited >= LONGEST_TRAINING_S:
                minutes = LONGEST_TRAINING_S / 60
                raise TrainingFailed(
                    f"training is not done after {minutes:.0f} minutes; ask again at {self.url}{place}"
                )
            self._sleep(pause)
            waited += pause
            pause = min(_SLOWEST_POLL_S, pause * 1.5)

    def _send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send a request, again after the time that a busy server names, and return the answer if it is a good one."""
        sent = {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})}
        for attempt in range(1, ATTEMPTS + 1):
            answer = self._once(method, path, body, sent)
            pause = _retry_after(answer)
            if pause is None or attempt == ATTEMPTS:
                break
            self._sleep(pause)
        if not answer.is_success:
            raise Refused(answer.status_code, _problem(answer))
        return answer

    def _once(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> httpx.Response:
        try:
            return self._http.request(method, path, content=body, headers=headers)
        except httpx.ConnectError as refusal:
            raise Unreachable(f"nothing answers: is `telltale serve` running at {self.url}? ({refusal})") from refusal
        except httpx.TimeoutException as refusal:
            raise Unreachable(f"{self.url} did not answer {method} {path} in time; look at its log") from refusal
        except (httpx.HTTPError, httpx.InvalidURL) as refusal:
            raise Unreachable(f"the connection to {self.url} broke in {method} {path}: {refusal}") from refusal


def chunked(
    records: Sequence[Record], *, most: int = _LIMITS.records, most_bytes: int = _RECORDS_BYTES
) -> Iterator[Sequence[Record]]:
    """Cut ``records`` into runs that fit into one request: at most ``most`` of them and ``most_bytes`` as JSON."""
    first, size = 0, 0
    for position, record in enumerate(records):
        grown = len(msgspec.json.encode(record)) + 1
        if position > first and (position - first >= most or size + grown > most_bytes):
            yield records[first:position]
            first, size = position, 0
        size += grown
    if first < len(records):
        yield records[first:]


def _checked(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as refusal:
        raise Unreachable(f"{url!r} is not a URL such as {DEFAULT_URL}: {refusal}") from refusal
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Unreachable(f"{url!r} is not a URL such as {DEFAULT_URL}")
    return parsed


def _is_here(url: httpx.URL) -> bool:
    """Tell whether the URL names this machine, which no proxy of the environment can reach for us."""
    try:
        return url.host == "localhost" or ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return False


def _retry_after(answer: httpx.Response) -> float | None:
    """Return how long a busy server wants us to wait, in seconds, or None if coming back is of no use."""
    if answer.status_code not in _BUSY or "retry-after" not in answer.headers:
        return None
    try:
        return min(LONGEST_RETRY_S, max(0.0, float(answer.headers["retry-after"])))
    except ValueError:  # an HTTP date
        return 1.0


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError as refusal:
        raise UnexpectedAnswer(f"{answer.url} answered with something else than JSON: is it Telltale?") from refusal


def _object(answer: httpx.Response) -> dict[str, Any]:
    told = _json(answer)
    if not isinstance(told, dict):
        raise UnexpectedAnswer(f"{answer.url} answered with something else than a JSON object: is it Telltale?")
    return told


def _problem(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        told = answer.json()
    except ValueError:
        told = None
    if isinstance(told, dict) and ("detail" in told or "title" in told):
        return told
    return {"title": answer.reason_phrase, "detail": answer.text[:200].strip()}


def _told(status: int, problem: Mapping[str, Any]) -> str:
    """Put a problem document into words: title and detail, then each fault that the detail does not hold already."""
    title, detail = str(problem.get("title") or "refused"), str(problem.get("detail") or "")
    lines = [f"the server refused ({status} {title}): {detail}" if detail else f"the server refused ({status} {title})"]
    faults = problem.get("errors")
    lines += [
        f"  {fault.get('pointer', '')}: {fault.get('detail')}"
        for fault in (faults if isinstance(faults, list) else ())
        if isinstance(fault, dict) and str(fault.get("detail")) not in detail
    ]
    if status == httpx.codes.UNAUTHORIZED:
        lines.append("  give it with --token or TELLTALE_TOKEN; `telltale token` makes one for a shared secret")
    if problem.get("request_id"):
        lines.append(f"  request id {problem['request_id']}")
    return "\n".join(lines)


def _ingested(told: Mapping[str, Any], *, model: str, count: int) -> Ingested:
    if not told.get("model_version"):
        raise UnexpectedAnswer("/ingest answered without a model_version: is it a Telltale server of this version?")
    return Ingested(
        model=str(told.get("model") or model),
        model_version=str(told["model_version"]),
        record_count=int(told.get("record_count") or count),
        served=told.get("served") is not False,
        reason=_reason_not_served(told),
        warnings=tuple(str(warning) for warning in told.get("warnings") or ()),
    )


def _reason_not_served(told: Mapping[str, Any]) -> str | None:
    """Return the reason of a 201, or the offline gate's of a job."""
    if told.get("gate") == "refused":
        return f"the offline gate refused the version: {told.get('gate_reason')}"
    return str(told["reason"]) if told.get("reason") else None
