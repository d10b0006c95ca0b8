from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from standalone.data_folder import DataFolder, Instance
from standalone.health import main


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/health/ready"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "code", "said"), [(200, 0, "all is well"), (503, 1, "503 all is well")])
def test_it_is_what_readiness_says(
    status: int,
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TELLTALE_DATA", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with answering(status, b"all is well") as url:
        DataFolder(tmp_path).note_instance(Instance(1, url, "postgresql://x"))
        assert main() == code
    assert capsys.readouterr().out == f"{said}\n"
    assert main() == 1
    assert "does not answer" in capsys.readouterr().out


def test_where_nothing_runs_it_is_not_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TELLTALE_DATA", str(tmp_path))
    assert main() == 1
    assert capsys.readouterr().out == f"no Telltale runs on {tmp_path}\n"


def test_it_is_light_enough_to_run_every_few_seconds(tmp_path: Path) -> None:
    """It loads neither the settings' libraries nor any of ours beside the data folder."""
    script = (
        "import standalone.health, sys; print(*(m for m in sys.modules if m.split('.')[0] in ('pydantic', 'store')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"TELLTALE_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == ""
