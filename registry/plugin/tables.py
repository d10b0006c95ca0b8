"""Lists as tables: all ServedModels, and the history of one. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.table import Table
from rich.text import Text

from registry.kubernetes.resources import Manifest
from registry.plugin import marks as m
from registry.plugin.marks import Marks
from registry.plugin.overview import Overview, RevisionView, time_of
from registry.plugin.wording import age, short_digest

_WIDE = 100


@dataclass(frozen=True)
class Served:
    """A revision of the past, or the present; `history -o json` prints just these.

    Args:
        revision: the ModelRevision's name.
        version: the model version id.
        mlflow_version: MLflow's own number.
        outcome: Candidate, Stable, Superseded, Rejected or RolledBack.
        reason: why, in one word.
        message: why, in a sentence.
        by: who did it, where somebody did.
        created_at: when it was first wanted.
        served_from: since when it was the stable revision; None if it never was.
        served_until: until when.
        digest: of the artefact.
        image: of the predictor.

    """

    revision: str
    version: str
    mlflow_version: str
    outcome: str
    reason: str
    message: str
    by: str
    created_at: datetime | None
    served_from: datetime | None
    served_until: datetime | None
    digest: str
    image: str


def history_of(revisions: Sequence[Manifest]) -> list[Served]:
    """Return revisions, the newest first."""
    newest = sorted(revisions, key=lambda one: (_last_use(one), one["metadata"]["name"]), reverse=True)
    return [_served(one) for one in newest]


def _last_use(manifest: Manifest) -> str:
    """Return when a revision was last begun with: one may serve again."""
    created: str = manifest["metadata"]["creationTimestamp"]
    return max((manifest.get("status") or {}).get("servedFrom") or "", created)


def _served(manifest: Manifest) -> Served:
    spec, status = manifest["spec"], manifest.get("status") or {}
    return Served(
        revision=manifest["metadata"]["name"],
        version=spec.get("version", ""),
        mlflow_version=spec.get("mlflowVersion", ""),
        outcome=status.get("outcome") or "Candidate",
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        by=status.get("by") or "",
        created_at=time_of(manifest["metadata"].get("creationTimestamp")),
        served_from=time_of(status.get("servedFrom")),
        served_until=time_of(status.get("servedUntil")),
        digest=spec.get("digest", ""),
        image=(spec.get("predictor") or {}).get("image", ""),
    )


def history(found: Sequence[Served], marks: Marks, width: int, *, wide: bool = False) -> Table:
    """Return the history as a table; ``wide`` has all, whatever the width."""
    roomy = wide or width >= _WIDE
    names = ["", "revision", "version", "outcome", "reason", "by", "served from", "until"]
    if not roomy:
        names = ["", "revision", "version", "outcome", "served from"]
    table = _table([*names, "mlflow", "digest", "image", "why"] if wide else names)
    for one in found:
        mark, style = m.of_outcome(one.outcome, marks)
        cells = [Text(mark, style=style), Text(one.revision), Text(one.version), Text(one.outcome, style=style)]
        if roomy:
            cells += [Text(one.reason), Text(one.by or "-")]
        cells.append(Text(_moment(one.served_from)))
        if roomy:
            cells.append(Text(_moment(one.served_until) if one.served_from else "-"))
        if wide:
            more = (one.mlflow_version, short_digest(one.digest), one.image, one.message)
            cells += [Text(text or "-") for text in more]
        table.add_row(*cells)
    return table


def overviews(seen: Sequence[Overview], now: datetime, marks: Marks, width: int, *, namespaces: bool) -> Table:
    """Return all ServedModels as a table; ``namespaces`` has a column of them."""
    roomy = width >= _WIDE
    names = ["", *(["namespace"] if namespaces else []), "name", "phase", "stable", "candidate", "weight"]
    table = _table([*names, "age", "what it waits for"] if roomy else names)
    for one in seen:
        mark, style = m.of_phase(one.phase, marks)
        stable, candidate = one.revision("stable"), one.revision("candidate")
        cells = [Text(mark, style=style), *([Text(one.namespace)] if namespaces else []), Text(one.name, style="bold")]
        cells += [Text(one.phase, style=style), Text(_version(stable))]
        cells += [Text(_version(candidate))]
        cells.append(Text(f"{candidate.weight} %" if candidate else "-"))
        if roomy:
            cells += [Text(age(now - one.created_at) if one.created_at else "-"), Text(one.message)]
        table.add_row(*cells)
    return table


def _version(revision: RevisionView | None) -> str:
    return "-" if revision is None else revision.version or revision.name


def _moment(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _table(names: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        table.add_column(name.upper(), no_wrap=True, overflow="ellipsis")
    return table
