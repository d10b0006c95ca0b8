"""The offline gate: what a model version must show before it may serve anybody. PURE.

The gate looks at evidence that was gathered elsewhere and returns its verdict; each check returns nothing, or the
reason for which it refuses. Their order is the order of the list, and the first refusal counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# Scores are doubles between -0.5 and 0.5; scikit-learn and our kernels agree to the last bits.
LARGEST_DIFFERENCE = 1e-12


@dataclass(frozen=True)
class Evidence:
    """What was found out about a version.

    Args:
        feature_names: its signature.
        fault: why its artefact could not be read (missing, damaged, another digest), or None.
        registered_digest: the artefact digest that its MLflow version carries.
        stored_digest: the artefact digest in the model store's manifest.
        probe_rows: how many probe rows were scored.
        probe_difference: largest absolute difference to scikit-learn's decision function over the probe rows.
        probe_flips: probe rows whose label differs from scikit-learn's.

    """

    feature_names: tuple[str, ...]
    fault: str | None
    registered_digest: str
    stored_digest: str
    probe_rows: int
    probe_difference: float
    probe_flips: int


@dataclass(frozen=True)
class Verdict:
    """The gate's answer; ``reason`` is one word for machines, ``message`` a sentence for people."""

    passed: bool
    reason: str
    message: str


Refusal = tuple[str, str]


def judge(evidence: Evidence, served_features: tuple[str, ...] | None) -> Verdict:
    """Return the verdict on a version.

    Args:
        evidence: what was found out about it.
        served_features: the signature of the version that is served now, or None if none is.

    """
    for check in _CHECKS:
        refusal = check(evidence, served_features)
        if refusal is not None:
            return Verdict(False, *refusal)
    return Verdict(
        True,
        "Passed",
        f"digest verified; {evidence.probe_rows} probe rows score as scikit-learn scored them "
        f"(largest difference {evidence.probe_difference:.1e})",
    )


def _readable(evidence: Evidence, _served: tuple[str, ...] | None) -> Refusal | None:
    return None if evidence.fault is None else ("ArtifactUnreadable", evidence.fault)


def _digest(evidence: Evidence, _served: tuple[str, ...] | None) -> Refusal | None:
    if evidence.registered_digest == evidence.stored_digest:
        return None
    return (
        "DigestMismatch",
        f"MLflow registered {evidence.registered_digest}, the model store holds {evidence.stored_digest}",
    )


def _signature(evidence: Evidence, served: tuple[str, ...] | None) -> Refusal | None:
    if served is None or served == evidence.feature_names:
        return None
    return (
        "SignatureChanged",
        f"the version served has the features {', '.join(served)}; this one has {', '.join(evidence.feature_names)}",
    )


def _parity(evidence: Evidence, _served: tuple[str, ...] | None) -> Refusal | None:
    if evidence.probe_rows == 0:
        return ("NoProbe", "there are no probe rows to score, so nothing shows that it scores as it was trained")
    # Written so that a difference that is no number refuses too.
    if not evidence.probe_difference <= LARGEST_DIFFERENCE or evidence.probe_flips:
        message = (
            f"{evidence.probe_flips} of {evidence.probe_rows} probe rows changed their label; the largest difference "
            f"to scikit-learn is {evidence.probe_difference:.1e} (limit {LARGEST_DIFFERENCE:.0e})"
        )
        return ("ScoresDiffer", message)
    return None


_CHECKS: tuple[Callable[[Evidence, tuple[str, ...] | None], Refusal | None], ...] = (
    _readable,
    _digest,
    _signature,
    _parity,
)
