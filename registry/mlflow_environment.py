"""How MLflow's client behaves in a process of ours: it reads environment variables, of which this sets those not set.

Nothing here imports MLflow, so that `prepare` can come before that.
"""

from __future__ import annotations

import os

# Left alone the client waits two minutes for an answer and tries seven times; what we ask is asked again anyway. It is
# tried twice, and at once, since a server may close a connection that was kept just when the next request goes out:
# MLflow's own does after 5 s, and we ask it every 5 s.
CLIENT_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
}
# No telemetry, and no log handlers of its own.
_QUIET = {
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def prepare() -> None:
    """Set what is not set; what keeps MLflow quiet works only before it is imported."""
    os.environ.update({name: value for name, value in (_QUIET | CLIENT_ENVIRONMENT).items() if name not in os.environ})
