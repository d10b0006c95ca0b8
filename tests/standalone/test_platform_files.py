"""render.yaml, railway.toml and fly.toml name what is there: the Dockerfile, its arguments, routes and settings."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from standalone.env_example import rendered

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = "Dockerfile.trainer"
READY = "/health/ready"
VOLUME = "/data"
LEAST_GB = 1


def dockerfile() -> str:
    return (ROOT / DOCKERFILE).read_text()


def known(variables: dict[str, str]) -> None:
    """Fail on a variable that is neither a setting nor an argument of the build."""
    settings = set(re.findall(r"^#([A-Z_]+)=", rendered(), re.MULTILINE)) | {"PORT"}
    arguments = set(re.findall(r"^ARG ([A-Z_]+)", dockerfile(), re.MULTILINE))
    assert set(variables) <= settings | arguments


def test_render_builds_the_image_and_keeps_the_data_on_a_disk() -> None:
    (service,) = yaml.safe_load((ROOT / "render.yaml").read_text())["services"]
    assert (service["runtime"], service["dockerfilePath"]) == ("docker", f"./{DOCKERFILE}")
    assert service["healthCheckPath"] == READY
    assert service["disk"]["mountPath"] == VOLUME
    variables = {variable["key"]: variable["value"] for variable in service["envVars"]}
    assert variables["USE_LOCAL_STORAGE"] == "true"
    known(variables)


def test_railway_builds_the_image_and_wants_a_volume() -> None:
    settings: dict[str, Any] = tomllib.loads((ROOT / "railway.toml").read_text())
    assert settings["build"] == {"builder": "DOCKERFILE", "dockerfilePath": DOCKERFILE}
    assert settings["deploy"]["healthcheckPath"] == READY
    assert settings["deploy"]["requiredMountPath"] == VOLUME


def test_railway_refuses_two_instructions_and_the_image_has_neither() -> None:
    """Volumes in a Dockerfile, and cache mounts that do not bear the service's own id."""
    assert not re.search(r"^VOLUME", dockerfile(), re.MULTILINE)
    assert "type=cache" not in dockerfile()


def test_fly_builds_the_image_and_asks_the_port_that_it_sets() -> None:
    settings: dict[str, Any] = tomllib.loads((ROOT / "fly.toml").read_text())
    assert settings["build"]["dockerfile"] == DOCKERFILE
    assert settings["mounts"]["destination"] == VOLUME
    service = settings["http_service"]
    assert str(service["internal_port"]) == settings["env"]["PORT"]
    assert [check["path"] for check in service["checks"]] == [READY]
    assert int(settings["vm"][0]["memory"].removesuffix("gb")) > LEAST_GB
    known(settings["env"] | settings["build"]["args"])


def test_the_image_has_the_users_number_that_root_is_given_up_for() -> None:
    assert "ARG CONTAINER_USER=65532:65532" in dockerfile()
    assert "TELLTALE_RUN_AS=65532" in dockerfile()
