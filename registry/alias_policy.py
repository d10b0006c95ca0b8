"""Which version a model serves by default, from its aliases and the offline gate. PURE.

The rules, of which the first that applies gives the next step:

1. A trained version that the gate has not judged is judged. If it passes it becomes ``champion`` and is served, unless
   a newer one was promoted before; if not, it is tagged with the reason and nothing else changes.
2. Where ``champion`` names another version than the one served, somebody moved it, and is followed: forwards or back,
   by promotion or as a rollback. A version that cannot be read or has another signature is not followed, and says why.
3. Otherwise nothing is to be done.

No rule looks at a clock or remembers anything: the same snapshot always gives the same step, and a step that was cut
off in the middle is decided again.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.offline_gate import Evidence, Verdict, judge


@dataclass(frozen=True)
class Version:
    """A registered version of a model: our id, and what was found out about it."""

    id: str
    evidence: Evidence


@dataclass(frozen=True)
class Snapshot:
    """All that the decision looks at.

    Args:
        untested: the oldest trained version without a verdict, if there is one.
        champion: the version that the alias ``champion`` names, if it is set.
        served: the id of the version that is served by default, if there is one.
        served_features: that version's signature.

    """

    untested: Version | None
    champion: Version | None
    served: str | None
    served_features: tuple[str, ...] | None


@dataclass(frozen=True)
class Promote:
    """Move ``champion`` to the version, serve it, and record that it passed."""

    version: Version
    verdict: Verdict


@dataclass(frozen=True)
class RecordVerdict:
    """Record a verdict and change nothing that is served."""

    version: Version
    verdict: Verdict


@dataclass(frozen=True)
class Serve:
    """Serve the version that ``champion`` names."""

    version: Version


@dataclass(frozen=True)
class Hold:
    """Go on serving what is served, although ``champion`` names another version."""

    version: Version
    verdict: Verdict


Step = Promote | RecordVerdict | Serve | Hold | None


def decide(snapshot: Snapshot) -> Step:
    """Return the next step, or None."""
    if snapshot.untested is not None:
        return _on_untested(snapshot.untested, snapshot)
    champion = snapshot.champion
    if champion is None or champion.id == snapshot.served:
        return None
    verdict = judge(champion.evidence, snapshot.served_features)
    return Serve(champion) if verdict.passed else Hold(champion, verdict)


def _on_untested(version: Version, snapshot: Snapshot) -> Step:
    verdict = judge(version.evidence, snapshot.served_features)
    champion = snapshot.champion
    if verdict.passed and champion is not None and champion.id > version.id:
        superseded = Verdict(True, "Superseded", f"passed, but {champion.id} was promoted before and is newer")
        return RecordVerdict(version, superseded)
    return Promote(version, verdict) if verdict.passed else RecordVerdict(version, verdict)
