"""MLServer with its scikit-learn runtime, as its first example shows it. V2 REST; it answers +-1, no score.

`python mlserver_sklearn.py MODEL_FILE FOLDER PORT` writes MLServer's two settings files and becomes `mlserver start`.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main(model_file: str, folder: str, port: str) -> None:
    """Write the settings and start the server."""
    settings = {
        "host": "127.0.0.1",
        "http_port": int(port),
        "grpc_port": _free_port(),
        "metrics_port": _free_port(),
        "parallel_workers": 0,  # one process, as everyone has it here
        "debug": False,
        "use_structured_logging": False,
    }
    model = {
        "name": "default",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": model_file, "version": "v1"},
    }
    (Path(folder) / "settings.json").write_text(json.dumps(settings))
    (Path(folder) / "model-settings.json").write_text(json.dumps(model))
    program = str(Path(sys.executable).with_name("mlserver"))
    os.execv(program, [program, "start", folder])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(*sys.argv[1:])
