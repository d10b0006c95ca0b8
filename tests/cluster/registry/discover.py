"""Runs beside the tests' Prometheus: writes the pods of revisions as its targets, with their names as labels.

Debian's Prometheus is built without its own discovery of pods (`kubernetes_sd_configs`), which does the same.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from registry.kubernetes.api import KubernetesApi, connect
from registry.kubernetes.resources import PODS
from registry.rollout.manifests import HTTP_PORT, REVISION_LABEL

NAMESPACE = os.environ["POD_NAMESPACE"]
TARGETS = Path("/targets/revisions.json")


def main() -> None:
    """Write them anew every half a second."""
    api = KubernetesApi(connect(5.0))
    while True:
        pods = api.list(PODS, NAMESPACE, REVISION_LABEL)
        found = [(pod["status"].get("podIP"), pod["metadata"]["name"]) for pod in pods]
        targets = [
            {"targets": [f"{address}:{HTTP_PORT}"], "labels": {"namespace": NAMESPACE, "pod": name}}
            for address, name in found
            if address
        ]
        draft = TARGETS.with_suffix(".new")
        draft.write_text(json.dumps(targets))
        draft.replace(TARGETS)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
