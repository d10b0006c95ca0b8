"""What a target did and found, and the file that a finding is kept in."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

KEPT = Path(".telltale/fuzz")
# Classes of answers that no client may see, over HTTP and gRPC.
SERVERS_FAULTS = ("5xx", "INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE")


@dataclass(frozen=True)
class Finding:
    """Something that must not be.

    Args:
        target: which target found it.
        kind: what it is in few words; two findings of one kind count as the same.
        detail: what was seen, for a person.
        reproducer: the smallest input known to show it.

    """

    target: str
    kind: str
    detail: str
    reproducer: bytes

    @property
    def name(self) -> str:
        """A file name for it, the same in every run that finds the same kind."""
        mark = hashlib.sha256(f"{self.target} {self.kind}".encode()).hexdigest()[:8]
        return f"{self.target}-{mark}"


@dataclass
class Tally:
    """What one target did.

    Args:
        target: its name.
        executions: how many inputs were tried.
        seconds: how long that took.
        answers: how many answers, or outcomes, of each class.
        crashes: how often the process under test died.
        hangs: how often it did not answer in time.
        findings: by kind.
        note: what a reader of the table must know about it.

    """

    target: str
    executions: int = 0
    seconds: float = 0.0
    answers: Counter[str] = field(default_factory=Counter)
    crashes: int = 0
    hangs: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)
    note: str = ""

    @property
    def server_errors(self) -> int:
        """How many answers were the server's fault."""
        return sum(self.answers[name] for name in SERVERS_FAULTS)

    def find(self, kind: str, detail: str, reproducer: bytes) -> None:
        """Note a finding; of two of one kind the shorter input is kept, of two as long the one that sorts first."""
        known = self.findings.get(kind)
        if known is None or (len(reproducer), reproducer) < (len(known.reproducer), known.reproducer):
            self.findings[kind] = Finding(self.target, kind, detail, reproducer)


def keep(finding: Finding, folder: Path, *, seed: int) -> Path:
    """Write a finding's input into ``folder``, and beside it what it is about; returns the input's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{finding.name}.bin"
    path.write_bytes(finding.reproducer)
    again = f"make fuzz ARGS='--seed {seed} --replay {path}'"
    text = f"{finding.target}: {finding.kind}\n\n{finding.detail}\n\nonce more: {again}\n"
    path.with_suffix(".txt").write_text(text)
    return path
