"""The servers that Telltale is compared with, each in an environment of its own, made when it is first needed.

`<name>.py` beside this file is a server as its own guide builds it, `<name>.txt` what its environment holds. The
environments lie under `.telltale/bench-peers/`, outside of Telltale's own. Each server is one process on one core, on
127.0.0.1, without telemetry and without a log line for each request.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cores import Cores
from benchmarks.load import http_request
from benchmarks.processes import Running, running, wait_until_answers
from benchmarks.server import free_port
from benchmarks.subject import Subject, score_body, v2_body, v2_path

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]
_ENVIRONMENTS = _ROOT / ".telltale" / "bench-peers"
_UV = _ROOT / ".tools" / "bin" / "uv"
_NO_TELEMETRY = {"DO_NOT_TRACK": "true", "BENTOML_DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}


class NotInstalled(Exception):
    """A peer's environment cannot be made here."""


@dataclass(frozen=True)
class Peer:
    """One of them.

    Args:
        name: in figures.
        title: on the page.
        script: name of its files beside this one.
        request: makes the whole request for the one record.
        grpc: it listens for gRPC too.
        on_our_kernel: it scores by our kernel: it is given the forest file, and the repository to import from.

    """

    name: str
    title: str
    script: str
    request: Callable[[Subject], bytes]
    grpc: bool = False
    on_our_kernel: bool = False


def _mlflow_request(subject: Subject) -> bytes:
    values = ", ".join(str(value) for value in subject.record.tolist())
    return http_request("/invocations", f'{{"inputs": [[{values}]]}}'.encode())


def _score_request(subject: Subject) -> bytes:
    return http_request("/score", score_body(subject))


def _v2_request(subject: Subject) -> bytes:
    return http_request(v2_path(), v2_body(subject))


PEERS = (
    Peer("fastapi", "FastAPI + joblib", "fastapi_joblib", _score_request),
    Peer("kserve", "KServe SDK", "kserve_sklearn", _v2_request),
    Peer("mlserver", "MLServer", "mlserver_sklearn", _v2_request),
    Peer("bentoml", "BentoML", "bentoml_sklearn", _score_request),
    Peer("mlflow", "mlflow models serve", "mlflow_pyfunc", _mlflow_request),
)
KSERVE_KERNEL = Peer(
    "kserve_kernel", "KServe SDK + our kernel", "kserve_kernel", _v2_request, grpc=True, on_our_kernel=True
)


@contextmanager
def running_peer(peer: Peer, subject: Subject, *, cores: Cores, folder: Path) -> Iterator[Running]:
    """Run a peer; it is yielded when it answers the record by 200.

    Raises:
        NotInstalled: its environment cannot be made.
        NotStarted: it does not answer.

    """
    python = environment(peer)
    work = folder / peer.name
    work.mkdir()
    port, grpc_port = free_port(), free_port() if peer.grpc else 0
    model = _forest_file(subject) if peer.on_our_kernel else subject.joblib_file
    command = [str(python), str(_HERE / f"{peer.script}.py"), str(model), str(work), str(port)]
    command += [str(grpc_port)] if peer.grpc else []
    variables = _NO_TELEMETRY | ({"PYTHONPATH": str(_ROOT)} if peer.on_our_kernel else {})
    log = folder / f"{peer.name}.log"
    with running(command, variables, core=cores.server, log=log, port=port, grpc_port=grpc_port) as (server, process):
        wait_until_answers(process, port, peer.request(subject), log)
        yield server


def environment(peer: Peer) -> Path:
    """Return the interpreter of a peer's environment, which is made or renewed first if needed.

    Raises:
        NotInstalled: something in it cannot be installed.

    """
    requirements = _HERE / f"{peer.script}.txt"
    folder = _ENVIRONMENTS / peer.script
    python, stamp = folder / "bin" / "python", folder / ".requirements"
    # Packages are built for one version of Python, and this one decides which.
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    # It is the data folder of `make run` too, and nobody but its owner may look around there.
    _ENVIRONMENTS.parent.mkdir(mode=0o711, exist_ok=True)
    base = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    _uv("venv", "--quiet", "--clear", "--no-python-downloads", "--python", base, str(folder))
    _uv("pip", "install", "--quiet", "--python", str(python), "--requirements", str(requirements))
    stamp.write_text(wanted)
    return python


def _uv(*arguments: str) -> None:
    if not _UV.exists():
        raise NotInstalled(f"{_UV.relative_to(_ROOT)} is missing: `make bench` brings it")
    process = subprocess.run([str(_UV), *arguments], capture_output=True, check=False)
    if process.returncode != 0:
        raise NotInstalled(process.stderr.decode(errors="replace").strip()[-800:])


def _forest_file(subject: Subject) -> Path:
    return next(subject.store.rglob("forest-*.safetensors"))
