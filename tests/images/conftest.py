"""Docker, and the images under test, built as `make images` builds them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.images.containers import Docker

_IMAGES = Path(__file__).parents[2] / "images"
_BUILD_SECONDS = 1800


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.images)
            item.add_marker(pytest.mark.timeout(_BUILD_SECONDS))


@pytest.fixture(scope="session")
def docker() -> Docker:
    """The client that the variable DOCKER names, or one that is found."""
    client = os.environ.get("DOCKER")
    if client is None:
        found = subprocess.run([_IMAGES / "docker"], capture_output=True, text=True, check=False)
        if found.returncode != 0:
            pytest.skip(f"{found.stderr.strip()}; install Docker, start it, or name a client by DOCKER")
        client = found.stdout.strip()
    return Docker(client)


def built(docker: Docker, image: str) -> str:
    """Return the name of ``predictor`` or ``trainer``, just built; that of TELLTALE_<IMAGE>_IMAGE is taken as it is."""
    given = os.environ.get(f"TELLTALE_{image.upper()}_IMAGE")
    if given:
        return given
    name = f"telltale/{image}:test"
    done = subprocess.run(
        [_IMAGES / "build", image, name],
        env=os.environ | {"DOCKER": docker.client},
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{image} cannot be built:\n{done.stderr[-8000:]}"
    return name


@pytest.fixture(scope="session")
def predictor_image(docker: Docker) -> str:
    """The predictor's image."""
    return built(docker, "predictor")


@pytest.fixture(scope="session")
def trainer_image(docker: Docker) -> str:
    """The trainer's image."""
    return built(docker, "trainer")
