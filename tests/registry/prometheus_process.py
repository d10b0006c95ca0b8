"""A real Prometheus for tests, which scrapes itself; it can be stopped and started."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from registry.errors import PrometheusUnavailable
from registry.prometheus import Prometheus

_START_SECONDS = 60.0


class PrometheusProcess:
    """One server on a folder; it keeps its port."""

    def __init__(self, folder: Path) -> None:
        program = os.environ.get("TELLTALE_TEST_PROMETHEUS") or shutil.which("prometheus")
        if program is None:
            pytest.skip("needs the program prometheus (Debian's package of that name) on the path")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._address = f"127.0.0.1:{probe.getsockname()[1]}"
        scrape = {"job_name": "self", "scrape_interval": "1s", "static_configs": [{"targets": [self._address]}]}
        (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": [scrape]}))
        settings = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        self._command = [program, *settings, f"--web.listen-address={self._address}"]
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self._address}"

    def start(self) -> None:
        """Start it; returns when it has scraped itself."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        while not self._has_data():
            if self._process.poll() is not None or time.monotonic() >= deadline:
                self.stop()
                raise AssertionError(self._log.read_text()[-3000:])
            time.sleep(0.1)

    def stop(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(30)

    def _has_data(self) -> bool:
        client = Prometheus(self.url, 2)
        try:
            return client.ask("up == 1") == 1
        except PrometheusUnavailable:
            return False
        finally:
            client.close()
