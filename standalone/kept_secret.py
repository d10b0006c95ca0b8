"""Secrets that are made once and kept in the data folder, readable by us alone: nobody has to choose one.

A secret that is there is never replaced: what it guards would be lost with it.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def read_secret(path: Path) -> str | None:
    """Return the secret that the file keeps; None if there is none, or a start was cut before it was written."""
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        return None


def make_secret(path: Path, n_bytes: int) -> str:
    """Make a secret of ``n_bytes`` random bytes, in base64, and keep it in the file, whole or not at all."""
    secret = secrets.token_urlsafe(n_bytes)
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    with new.open("w") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    return secret
