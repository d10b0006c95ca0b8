"""An abort has to start at once: what it loads is part of what it promises."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW = ("mlflow", "kopf", "rich", "pydantic", "lightkube", "httpx", "httpx2", "asyncio", "numpy", "sklearn", "requests")


@pytest.mark.parametrize(
    "loads",
    [
        "from registry.plugin.cli import cli",
        "import registry.plugin.acting, registry.plugin.connection, registry.plugin.kubeconfig, registry.plugin.cli",
    ],
    ids=["help", "action"],
)
def test_an_action_loads_nothing_that_is_slow(loads: str) -> None:
    program = f"{loads}\nimport sys\nprint(sorted(set(sys.modules) & set({SLOW!r})))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_a_view_loads_no_models_unless_a_spec_has_freeze_windows() -> None:
    program = "import registry.plugin.showing, sys\nprint('pydantic' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"
