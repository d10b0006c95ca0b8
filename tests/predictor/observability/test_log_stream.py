"""Lines into a pipe that others write to and nobody may read: whole ones, and never waited for."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from predictor.observability.log_stream import ATOMIC_BYTES, LogStream, handlers_lock

LINE = b"x" * 99 + b"\n"


@dataclass
class Pipe:
    """Both ends of a pipe."""

    reading: int
    writing: int

    def read(self, most: int = 10**7) -> bytes:
        """Return what is in it, without waiting."""
        os.set_blocking(self.reading, False)
        read = b""
        with suppress(BlockingIOError):
            while len(read) < most and (part := os.read(self.reading, min(65536, most - len(read)))):
                read += part
        return read


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe."""
    pipe = Pipe(*os.pipe())
    yield pipe
    for end in (pipe.reading, pipe.writing):
        with suppress(OSError):
            os.close(end)


def test_everything_is_written_when_the_stream_takes_it(pipe: Pipe) -> None:
    """And removed from what waits."""
    lines = bytearray(LINE * 300)
    assert LogStream(pipe.writing, threading.Lock()).write(lines) == 0
    assert lines == b""
    assert pipe.read() == LINE * 300


def test_a_full_pipe_is_not_waited_for(pipe: Pipe) -> None:
    """What it took was whole lines; the rest waits, and comes when somebody has read."""
    lines = bytearray(LINE * 5000)
    stream = LogStream(pipe.writing, threading.Lock())
    started = time.monotonic()
    assert stream.write(lines) == 0
    assert time.monotonic() - started < 0.5
    assert 0 < len(lines) < 5000 * len(LINE)
    assert len(lines) % len(LINE) == 0
    read = pipe.read()
    while lines:
        stream.write(lines)
        read += pipe.read()
    assert read == LINE * 5000


def test_each_write_is_whole_lines_that_a_pipe_takes_at_once(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """So no other process can put its own in between."""
    writes: list[bytes] = []
    write = os.write

    def spy(output: int, data: bytes) -> int:
        writes.append(bytes(data))
        return write(output, data)

    monkeypatch.setattr(os, "write", spy)
    long = b"y" * (ATOMIC_BYTES - 1) + b"\n"
    LogStream(pipe.writing, threading.Lock()).write(bytearray(LINE * 60 + long + LINE))
    assert len(writes) > 2
    assert all(data.endswith(b"\n") and len(data) <= ATOMIC_BYTES for data in writes)


def test_who_else_writes_is_not_waited_for(pipe: Pipe) -> None:
    """The lock is held by a thread that logs."""
    lock = threading.Lock()
    lines = bytearray(LINE)
    with lock:
        assert LogStream(pipe.writing, lock).write(lines) == 0
    assert lines == LINE
    assert pipe.read() == b""


def test_the_lock_is_held_while_writing_and_given_back(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens."""
    lock = threading.Lock()
    held: list[bool] = []

    def broken(_output: int, _data: bytes) -> int:
        held.append(lock.locked())
        raise OverflowError("a fault of ours")

    monkeypatch.setattr(os, "write", broken)
    with pytest.raises(OverflowError):
        LogStream(pipe.writing, lock).write(bytearray(LINE))
    assert held == [True]
    assert not lock.locked()


def test_lines_that_nobody_reads_any_more_are_lost_and_counted(pipe: Pipe) -> None:
    """The reader is gone; a server goes on."""
    os.close(pipe.reading)
    lines = bytearray(LINE * 7)
    assert LogStream(pipe.writing, threading.Lock()).write(lines) == 7
    assert lines == b""


def test_a_full_disk_loses_lines_and_nothing_else() -> None:
    """/dev/full refuses every byte."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, which Linux has")
    output = os.open("/dev/full", os.O_WRONLY)
    try:
        assert LogStream(output, threading.Lock()).write(bytearray(LINE * 3)) == 3
    finally:
        os.close(output)


def test_patience_waits_for_a_slow_reader_up_to_its_end(pipe: Pipe) -> None:
    """In the end, that is; nobody reads here."""
    lines = bytearray(LINE * 5000)
    started = time.monotonic()
    LogStream(pipe.writing, threading.Lock()).write(lines, patience=0.2)
    assert 0.15 < time.monotonic() - started < 2
    assert lines


def test_the_lock_is_that_of_the_handler_of_the_same_stream(tmp_path: Path) -> None:
    """So that our lines and those of the loggers take turns."""
    root = logging.getLogger()
    with (tmp_path / "one.log").open("w") as one, (tmp_path / "other.log").open("w") as other:
        handlers = [logging.StreamHandler(one), logging.StreamHandler(other)]
        for handler in handlers:
            root.addHandler(handler)
        try:
            assert handlers_lock(one.fileno()) is handlers[0].lock
            assert handlers_lock(other.fileno()) is handlers[1].lock
            assert handlers_lock(10_000) not in [handler.lock for handler in handlers]
        finally:
            for handler in handlers:
                root.removeHandler(handler)
