"""The load generator: a small C program, compiled when it is first needed, and how to run it.

A client in Python costs more than the servers that it is to measure, so this one is in C (`load.c` says how it works).
It needs Linux (epoll) and a C compiler, and refuses any address but 127.0.0.1.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.cores import on_core

_SOURCES = Path(__file__).resolve().parent
_CACHE = _SOURCES.parents[1] / "build" / "bench"
_FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra")
_GRACE_SECONDS = 20.0


class LoadError(Exception):
    """The load generator could not be built or run, or the answers were not what they should be."""


@dataclass(frozen=True)
class Target:
    """What is asked, and how.

    Args:
        port: of the server on 127.0.0.1.
        request: HTTP: the whole request, as :func:`http_request` makes it. gRPC: the encoded message.
        grpc_method: path of the gRPC method, or None for HTTP.
        authorization: gRPC alone: value of that header. (An HTTP request holds its headers.)
        in_two: HTTP alone: send head and body in two pieces, as many clients do.

    """

    port: int
    request: bytes
    grpc_method: str | None = None
    authorization: str | None = None
    in_two: bool = False


class Load(msgspec.Struct, frozen=True):
    """What came of a load.

    Args:
        requests: whole answers, good and bad.
        seconds: from the first connection to the end.
        rps: good answers (200; gRPC: with a message) in a second.
        bad: answers that were not good; ``bad_status`` is that of the last one.
        broken: connections that ended under a request.
        bytes: received.
        mean_us, p50_us, p90_us, p99_us, max_us: from sending a request to its whole answer, microseconds, within 1 %.
        cpu_share: the load generator's own time on its core, as a share of the seconds; near 1 it is the bottleneck.

    """

    requests: int
    seconds: float
    rps: float
    bad: int
    bad_status: int
    broken: int
    bytes: int
    mean_us: float
    p50_us: float
    p90_us: float
    p99_us: float
    max_us: float
    cpu_share: float


def http_request(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """Return a whole `POST` request; its content type is JSON unless ``headers`` say otherwise."""
    fields = {"Host": "127.0.0.1", "Content-Type": "application/json", **(headers or {})}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def run_load(
    target: Target,
    *,
    connections: int,
    seconds: float,
    streams: int = 1,
    requests: int = 0,
    core: int | None = None,
    allow_bad: bool = False,
) -> Load:
    """Run one load to its end.

    Args:
        target: what to ask.
        connections: how many, each with ``streams`` requests under way (more than 1 by gRPC alone).
        seconds: when it ends at the latest.
        streams: gRPC calls under way on each connection.
        requests: end after so many answers; 0 for no such end.
        core: the core to run on; None for any.
        allow_bad: return what came even if answers were bad.

    Raises:
        LoadError: the server cannot be reached or gave no answer, or an answer was bad and ``allow_bad`` is not set.

    """
    with tempfile.NamedTemporaryFile(prefix="request-") as file, on_core(core):
        file.write(target.request)
        file.flush()
        command = [str(build()), "--port", str(target.port), "--request", file.name, "--seconds", str(seconds)]
        command += ["--connections", str(connections), "--streams", str(streams), "--requests", str(requests)]
        if target.grpc_method is not None:
            command += ["--protocol", "grpc", "--path", target.grpc_method]
        if target.authorization is not None:
            command += ["--authorization", target.authorization]
        if target.in_two:
            command += ["--first-piece", str(target.request.index(b"\r\n\r\n") + 4)]
        process = subprocess.run(command, capture_output=True, timeout=seconds + _GRACE_SECONDS, check=False)
    if process.returncode != 0:
        raise LoadError(process.stderr.decode().strip())
    load = msgspec.json.decode(process.stdout, type=Load)
    if load.requests == 0:
        raise LoadError(f"no answer within {seconds:g} s")
    if (load.bad or load.broken) and not allow_bad:
        raise LoadError(
            f"{load.bad} of {load.requests} answers were bad (the last: {load.bad_status}), "
            f"{load.broken} connections broke"
        )
    return load


def build(cache: Path = _CACHE) -> Path:
    """Return the compiled load generator, which is compiled anew when its sources have changed.

    Raises:
        LoadError: there is no C compiler, or it refuses the sources.

    """
    sources = sorted(_SOURCES.glob("*.[ch]"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    program = cache / f"load-{digest[:16]}"
    if program.exists():
        return program
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise LoadError("a C compiler is needed: install one (Debian, Ubuntu: gcc), or name it in CC")
    cache.mkdir(parents=True, exist_ok=True)
    # Under a name of its own first: another run may build at the same time.
    unfinished = cache / f"{program.name}.{os.getpid()}"
    units = [str(source) for source in sources if source.suffix == ".c"]
    process = subprocess.run([compiler, *_FLAGS, "-o", str(unfinished), *units], capture_output=True, check=False)
    if process.returncode != 0:
        raise LoadError(process.stderr.decode().strip())
    return unfinished.rename(program)
