"""Completes an image's bill of materials: what stands below the Python packages, and what the image itself is.

``cyclonedx-py environment | python sbom.py NAME PACKAGES`` reads a CycloneDX document about a Python environment, adds
Python itself and the Debian packages that PACKAGES lists (name, version, architecture and release, tab-separated), and
writes the whole. It knows of nothing else: a file that no package manager put there is not found.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote


def complete(document: dict[str, Any], name: str, debian: list[str]) -> dict[str, Any]:
    """Return ``document`` with the image's name and the components that are no Python packages."""
    components = document["components"]
    product = next(component for component in components if component["name"] == "telltale")
    image = {"type": "container", "bom-ref": f"image:{name}", "name": name, "version": product["version"]}
    others = [_python(), *(_debian(line) for line in debian)]
    document["metadata"]["component"] = image
    document["components"] = sorted(components + others, key=lambda component: str(component["bom-ref"]))
    top = [product["bom-ref"], *(component["bom-ref"] for component in others)]
    document["dependencies"] = [{"ref": image["bom-ref"], "dependsOn": sorted(top)}, *document.get("dependencies", [])]
    return document


def _python() -> dict[str, str]:
    return _component(
        "application", "python", platform.python_version(), f"pkg:generic/python@{platform.python_version()}"
    )


def _debian(line: str) -> dict[str, str]:
    name, version, architecture, release = line.split("\t")
    purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}&distro={release}"
    return _component("library", name, version, purl)


def _component(kind: str, name: str, version: str, purl: str) -> dict[str, str]:
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}


def main(arguments: list[str]) -> None:
    """Complete the document on standard input."""
    name, packages = arguments
    lines = Path(packages).read_text().splitlines()
    json.dump(complete(json.load(sys.stdin), name, lines), sys.stdout, indent=1, sort_keys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
