from __future__ import annotations

import ssl
from typing import Any

import httpx2
import pytest

from killpoints.errors import NotPlayed
from killpoints.hand import make, settings_for
from killpoints.labels import label
from killpoints.models import Models
from killpoints.seam import Crash, Kill, Notes, Seam
from registry.errors import MlflowUnavailable
from registry.kubernetes.resources import EVENTS, HTTP_ROUTES, SERVED_MODELS, Manifest, Resource
from registry.kubernetes.writes import Write, Writes


class Sees:
    """A witness that has nothing to say."""

    def around(self, write: Writes, wanted: Write) -> Manifest:
        return write(wanted)


def status_write(name: str, **status: Any) -> Write:
    manifest = {"status": {"phase": "Progressing", "attempt": {"step": 1, "weight": 10, "id": "1"}} | status}
    return Write("replaceStatus", SERVED_MODELS, "fleet", name, manifest)


def played(kill: Kill, *writes: Write) -> tuple[list[Write], Seam]:
    """Do writes through a seam; return those that arrived."""
    arrived: list[Write] = []
    seam = Seam("cars", Sees())
    seam.kill = kill

    def write(wanted: Write) -> Manifest:
        arrived.append(wanted)
        return {}

    through = seam.wrap(write)
    with pytest.raises(Crash):
        [through(wanted) for wanted in writes]
    return arrived, seam


@pytest.mark.parametrize(("after", "arrived"), [(False, 1), (True, 2)])
def test_a_controller_ends_before_or_after_the_write_that_is_meant(after: bool, arrived: int) -> None:
    first, second = status_write("cars", attempts=1), status_write("cars", attempts=2)
    done, seam = played(Kill(label(second, "cars"), after), first, second, status_write("cars", attempts=3))
    assert len(done) == arrived
    assert seam.kill is None, "it ends once"


def test_a_write_to_mlflow_is_a_point_too() -> None:
    models, seam = Models(), Seam("cars", Sees())
    seam.kill = Kill("MLflow alias is 2", after=False)
    notes = Notes(models, seam)
    notes.set_alias("cars", "serving", "1")
    with pytest.raises(Crash):
        notes.set_alias("cars", "serving", "2")
    assert models.noted_aliases == {"serving": "1"}


def test_a_write_that_mlflow_did_not_take_is_not_the_one_to_end_after() -> None:
    models, seam = Models(), Seam("cars", Sees())
    seam.kill = Kill("MLflow alias is 2", after=True)
    notes, models.is_away = Notes(models, seam), True
    with pytest.raises(MlflowUnavailable):
        notes.set_alias("cars", "serving", "2")
    models.is_away = False
    with pytest.raises(Crash):
        notes.set_alias("cars", "serving", "2")
    assert models.noted_aliases == {"serving": "2"}


def test_a_label_is_the_same_for_every_name_and_at_every_time() -> None:
    one = status_write("k1", stableRevision="k1-abc", message="until 10:00:00")
    other = status_write("k22", stableRevision="k22-abc", message="until 11:11:11")
    assert label(one, "k1") == label(other, "k22")


@pytest.mark.parametrize("status", [{"stableRevision": "cars-b"}, {"attempts": 2}, {"processedActions": ["1"]}])
def test_a_label_tells_what_a_rollout_is_at(status: dict[str, Any]) -> None:
    assert label(status_write("cars", **status), "cars") != label(status_write("cars"), "cars")


def test_routes_of_other_weights_have_other_labels() -> None:
    def route(weight: int) -> Write:
        return Write("apply", HTTP_ROUTES, "fleet", "cars", {"spec": {"rules": [{"weight": weight}]}})

    assert label(route(10), "cars") != label(route(50), "cars")


def test_an_event_is_called_after_its_reason() -> None:
    resource: Resource = EVENTS
    event = Write("create", resource, "fleet", "cars.1", {"reason": "Progressing", "note": "at 10:00"})
    assert label(event, "cars") == "create Event Progressing"


def test_a_controller_that_openssl_could_not_make_was_not_played(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **_named: Any) -> None:
        raise ssl.SSLError("[X509] PEM lib")

    monkeypatch.setattr(httpx2, "Client", failing)
    monkeypatch.setenv("KUBECONFIG", "/dev/null")
    monkeypatch.setattr("registry.composition.connect", lambda *_, **_named: None)
    with pytest.raises(NotPlayed, match="PEM lib"):
        make(settings_for("fleet", "http://127.0.0.1:1"), source=Models(), notes=Models())
