from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from registry.errors import KubernetesUnavailable, NotLeading
from registry.events import Recorder
from registry.kubernetes.writes import Write
from registry.rollout.intent import Event

ABOUT = {
    "apiVersion": "registry.telltale.dev/v1alpha1",
    "kind": "ServedModel",
    "metadata": {"name": "cars", "namespace": "fleet", "uid": "1"},
}


def recorded(message: str, error: Exception | None = None) -> list[Write]:
    """Return what is written of an event."""
    written = list[Write]()

    def write(wanted: Write) -> dict[str, Any]:
        if error is not None:
            raise error
        written.append(wanted)
        return wanted.manifest

    Recorder(write, "one", lambda: datetime(2026, 1, 1, tzinfo=UTC)).record(ABOUT, [Event("Rejected", message)])
    return written


@pytest.mark.parametrize(("message", "length"), [("x" * 2000, 1024), ("x" + "ü" * 2000, 1023), ("🚗" * 300, 1024)])
def test_a_note_is_cut_where_the_api_server_would_refuse_it_and_never_within_a_character(
    message: str, length: int
) -> None:
    (write,) = recorded(message)
    note = write.manifest["note"]
    assert len(note.encode()) == length
    assert message.startswith(note)


@pytest.mark.parametrize("error", [KubernetesUnavailable("away"), NotLeading("another may lead")])
def test_an_event_that_cannot_be_written_is_lost_and_nothing_else(error: Exception) -> None:
    assert recorded("it was", error) == []
