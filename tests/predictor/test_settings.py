"""Settings: documented, frozen, and never exposing an open server by accident."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from predictor.settings import PredictorSettings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the person who runs the tests do not count."""
    for name, field in PredictorSettings.model_fields.items():
        monkeypatch.delenv(str(field.validation_alias or f"TELLTALE_{name.upper()}"), raising=False)


def test_every_setting_is_described() -> None:
    """Meaning, unit and why the default: all in the description."""
    for name, field in PredictorSettings.model_fields.items():
        assert field.description, name


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_loopback_needs_no_permission(host: str) -> None:
    """Only this machine reaches it."""
    assert PredictorSettings(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "telltale.example"])
def test_another_address_needs_words(host: str) -> None:
    """And the refusal says which."""
    with pytest.raises(ValidationError, match="TELLTALE_ALLOW_ANONYMOUS=true"):
        PredictorSettings(host=host)
    assert PredictorSettings(host=host, allow_anonymous=True).host == host


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """TELLTALE_ and the name; the database by its usual name."""
    monkeypatch.setenv("TELLTALE_PORT", "9000")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@h/d")
    settings = PredictorSettings()
    assert (settings.port, settings.database_url) == (9000, "postgresql://u@h/d")


def test_settings_do_not_change() -> None:
    """They are read once and passed down."""
    with pytest.raises(ValidationError):
        PredictorSettings().port = 1  # type: ignore[misc]  # what is tested
