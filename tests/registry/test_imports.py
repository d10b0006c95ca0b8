from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_lock_of_the_control_plane_brings_no_numpy_and_no_scikit_learn() -> None:
    lock = (REPOSITORY / "requirements" / "registry.txt").read_text()
    names = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    assert "mlflow-skinny" in names
    assert not names & {"numpy", "scikit-learn", "pandas", "scipy"}


def test_the_decision_core_needs_neither() -> None:
    program = (
        "import sys; sys.modules.update(dict.fromkeys(('numpy', 'sklearn', 'mlflow')));"
        "import registry.alias_policy, registry.offline_gate, contract.names"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
