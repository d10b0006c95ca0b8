from __future__ import annotations

import socket

import pytest
from pydantic import ValidationError

from registry.__main__ import main
from registry.settings import RegistrySettings


@pytest.fixture(autouse=True)
def _not_in_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POD_NAME", raising=False)


def test_a_lease_that_is_too_short_for_a_request_is_refused_and_it_is_said_how_long_it_must_be() -> None:
    with pytest.raises(ValidationError) as refused:
        RegistrySettings(lease_seconds=9.9)
    assert "TELLTALE_LEASE_SECONDS must be at least 10 " in str(refused.value)
    assert "is 9.9: raise it" in str(refused.value)
    with pytest.raises(ValidationError, match="at least 16 "):
        RegistrySettings(request_timeout_seconds=11)
    assert RegistrySettings(lease_seconds=10).fence_margin_seconds == 6


def test_who_takes_no_part_in_an_election_may_be_as_patient_as_they_like() -> None:
    assert not RegistrySettings(request_timeout_seconds=60, leader_election=False).leader_election


def test_two_processes_on_one_host_have_names_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {RegistrySettings().identity for _ in range(2)}
    assert len(names) == 2
    assert all(name.startswith(f"{socket.gethostname()}-") for name in names)
    monkeypatch.setenv("POD_NAME", "telltale-registry-0")
    assert RegistrySettings().identity == "telltale-registry-0"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("TELLTALE_NAMESPACES", "fleet", "namespaces"),
        ("TELLTALE_LEASE_SECONDS", "1", "must be at least 10"),
        ("TELLTALE_WORKERS", "many", "workers"),
    ],
)
def test_a_wrong_setting_is_named_and_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str, said: str
) -> None:
    monkeypatch.setattr("sys.argv", ["registry"])
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
