from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from registry.offline_gate import Evidence, judge

GOOD = Evidence(("speed", "temp"), None, "sha256:1", "sha256:1", 64, 1e-16, 0)


def test_a_version_that_reads_and_scores_as_trained_passes() -> None:
    verdict = judge(GOOD, ("speed", "temp"))
    assert verdict.passed
    assert "64 probe rows" in verdict.message


def test_the_first_version_of_a_model_has_nothing_to_match() -> None:
    assert judge(GOOD, None).passed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fault": "the forest file has digest x"}, "ArtifactUnreadable"),
        ({"stored_digest": "sha256:2"}, "DigestMismatch"),
        ({"registered_digest": ""}, "DigestMismatch"),
        ({"feature_names": ("temp", "speed")}, "SignatureChanged"),
        ({"feature_names": ("speed",)}, "SignatureChanged"),
        ({"probe_rows": 0}, "NoProbe"),
        ({"probe_difference": 1e-9}, "ScoresDiffer"),
        ({"probe_difference": math.nan}, "ScoresDiffer"),
        ({"probe_flips": 1}, "ScoresDiffer"),
    ],
)
def test_each_lack_refuses_with_its_reason(change: dict[str, Any], reason: str) -> None:
    verdict = judge(dataclasses.replace(GOOD, **change), ("speed", "temp"))
    assert (verdict.passed, verdict.reason) == (False, reason)
    assert verdict.message
