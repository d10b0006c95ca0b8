"""`python -m standalone.health`: whether the Telltale of the data folder is ready; the image's health check.

It asks the address that the running instance noted, so that no port is named twice. It imports next to nothing: it runs
every few seconds.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

from standalone.data_folder import read_instance

_SECONDS = 4.0


def main() -> int:
    """Print what readiness answers; return 0 if it is a 200, else 1."""
    data = Path(os.environ.get("TELLTALE_DATA") or ".telltale")
    instance = read_instance(data)
    if instance is None:
        sys.stdout.write(f"no Telltale runs on {data}\n")
        return 1
    ready, answer = ask(f"{instance.url}/health/ready")
    sys.stdout.write(f"{answer}\n")
    return 0 if ready else 1


def ask(url: str) -> tuple[bool, str]:
    """Return whether ``url`` answers 200, and what it says."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_SECONDS) as answer:
            return True, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return False, f"{error.code} {error.read().decode(errors='replace')}"
    except OSError as error:
        return False, f"{url} does not answer: {error}"


if __name__ == "__main__":
    sys.exit(main())
