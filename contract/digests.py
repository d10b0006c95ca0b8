"""Digests as they are written everywhere: ``sha256:`` and 64 hex digits."""

from __future__ import annotations

import hashlib

from contract.errors import CorruptArtifact


def digest_of(data: bytes | memoryview) -> str:
    """Return the digest of ``data``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def check_digest(data: bytes, expected: str, what: str) -> None:
    """Raise CorruptArtifact unless ``data`` has the digest ``expected``; ``what`` names it in the message."""
    actual = digest_of(data)
    if actual != expected:
        raise CorruptArtifact(
            f"{what} has digest {actual}, expected {expected}: it was changed or damaged after it was written"
        )
