"""Reading large bodies in a process of its own.

A body of 100,000 records takes half a second to check and encode, most of it holding the interpreter's lock, and
``/score`` would stand still for that time. So bodies above a size go through pipes to a child process at a low
priority, one at a time. It is started when it is first needed, ends when its input does (so it never outlives us), and
is started again if it was lost.

`python -m predictor.ingestion.reading_process` is the child; nothing else runs it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import traceback
from datetime import datetime
from typing import IO

import msgspec

from contract.errors import Fault, InvalidInput, Malformed
from contract.names import DEFAULT_MODEL
from contract.telemetry import Limits
from predictor.ingestion.reading import SignatureOf, read_batch
from store.encoded_batch import EncodedBatch
from store.errors import StoreUnavailable

_LENGTH_BYTES = 8
_NICENESS = 10
_CLOSE_SECONDS = 1.0


class _Task(msgspec.Struct):
    """What comes before a body."""

    now: datetime
    limits: Limits
    default_model: str


class _Asks(msgspec.Struct, tag="asks"):
    """The child wants to know a model's features; the answer is a :class:`_Known`."""

    model: str


class _Known(msgspec.Struct):
    feature_names: tuple[str, ...] | None


class _Read(msgspec.Struct, tag="read"):
    model: str
    feature_names: tuple[str, ...]
    record_count: int
    data: bytes


class _Invalid(msgspec.Struct, tag="invalid"):
    faults: list[Fault]
    more: int


class _Malformed(msgspec.Struct, tag="malformed"):
    detail: str


class _Failed(msgspec.Struct, tag="failed"):
    trace: str


_Reply = _Asks | _Read | _Invalid | _Malformed | _Failed
_reply_decoder: msgspec.msgpack.Decoder[_Reply] = msgspec.msgpack.Decoder(_Reply)


class ReadingProcess:
    """Reads bodies as :func:`predictor.ingestion.reading.read_batch` does: small ones here, large ones in the child.

    Args:
        default_model: the model of bodies that name none.
        small_bytes: up to this size a body is read here: passing it on would take longer.

    """

    def __init__(self, *, default_model: str = DEFAULT_MODEL, small_bytes: int = 256 * 1024) -> None:
        self._default_model = default_model
        self._small_bytes = small_bytes
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, body: bytes, *, now: datetime, limits: Limits, signature: SignatureOf) -> EncodedBatch:
        """Return the batch in ``body``; blocks.

        Raises:
            Malformed, InvalidInput: the body breaks a rule.
            StoreUnavailable: the child was lost with the body in its hands; nothing was changed.

        """
        if len(body) <= self._small_bytes:
            return read_batch(body, now=now, limits=limits, signature=signature, default_model=self._default_model)
        with self._lock:
            reply = self._exchange(_Task(now, limits, self._default_model), body, signature)
        match reply:
            case _Invalid(faults, more):
                raise InvalidInput(faults, more=more)
            case _Malformed(detail):
                raise Malformed(detail)
            case _Read(model, names, count, data):
                return EncodedBatch(model, names, count, data)
            case _Failed(trace):
                raise RuntimeError(f"the reading process failed:\n{trace}")
            case _:
                raise RuntimeError("the reading process asked twice")

    def close(self) -> None:
        """End the child; a body that it still reads is given up, nothing of it was stored."""
        if self._lock.acquire(timeout=_CLOSE_SECONDS):
            self._end()
            self._lock.release()
        elif self._process is not None:
            self._process.kill()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            process.wait()

    def _exchange(self, task: _Task, body: bytes, signature: SignatureOf) -> _Reply:
        """Have the child read a body, and tell it the features when it asks."""
        try:
            reply = self._say(msgspec.msgpack.encode(task), body)
            if isinstance(reply, _Asks):
                reply = self._say(msgspec.msgpack.encode(_Known(signature(reply.model))))
        except BaseException:
            self._lose()  # it stands in the middle of a body
            raise
        return reply

    def _say(self, *messages: bytes) -> _Reply:
        process = self._running()
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the reading process has no pipes")
        answer = None
        with contextlib.suppress(BrokenPipeError):
            for message in messages:
                _write(process.stdin, message)
            answer = _read(process.stdout)
        if answer is None:
            raise StoreUnavailable("the process that reads large bodies was lost: send the request again")
        return _reply_decoder.decode(answer)

    def _lose(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is None:
            command = [sys.executable, "-m", "predictor.ingestion.reading_process"]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own program
        return self._process


def _write(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(len(message).to_bytes(_LENGTH_BYTES, "little"))
    pipe.write(message)
    pipe.flush()


def _read(pipe: IO[bytes]) -> bytes | None:
    """Return the next message, or None at the end of the input."""
    head = pipe.read(_LENGTH_BYTES)
    if len(head) < _LENGTH_BYTES:
        return None
    length = int.from_bytes(head, "little")
    message = pipe.read(length)
    return message if len(message) == length else None


def _reply_to(task: _Task, body: bytes, ask: SignatureOf) -> _Reply:
    try:
        batch = read_batch(body, now=task.now, limits=task.limits, signature=ask, default_model=task.default_model)
    except InvalidInput as refusal:
        return _Invalid(refusal.faults, refusal.more)
    except Malformed as refusal:
        return _Malformed(str(refusal))
    except Exception:  # noqa: BLE001 - a fault of ours, which the parent logs and answers as one
        return _Failed(traceback.format_exc())
    return _Read(batch.model, batch.feature_names, batch.record_count, batch.data)


def _ask_parent(model: str) -> tuple[str, ...] | None:
    _write(sys.stdout.buffer, msgspec.msgpack.encode(_Asks(model)))
    answer = _read(sys.stdin.buffer)
    if answer is None:
        sys.exit(0)  # the parent is gone
    return msgspec.msgpack.decode(answer, type=_Known).feature_names


def main() -> None:
    """Answer messages until the input ends; signals are for the parent, which then closes it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICENESS)
    while (head := _read(sys.stdin.buffer)) is not None and (body := _read(sys.stdin.buffer)) is not None:
        task = msgspec.msgpack.decode(head, type=_Task)
        _write(sys.stdout.buffer, msgspec.msgpack.encode(_reply_to(task, body, _ask_parent)))


if __name__ == "__main__":
    main()
