"""Settings: documented, frozen, never exposing an open server by accident, refused where they contradict themselves."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from predictor.settings import PredictorSettings

DATABASE = "postgresql://u@h/d"
PINNED = {"model": "default", "model_version": "20240115100000"}
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the person who runs the tests do not count."""
    for name, field in PredictorSettings.model_fields.items():
        monkeypatch.delenv(str(field.validation_alias or f"TELLTALE_{name.upper()}"), raising=False)


def settings(**values: Any) -> PredictorSettings:
    """Return settings with a database, unless ``values`` say otherwise."""
    return PredictorSettings(**({"database_url": DATABASE} | values))


def test_every_setting_is_described() -> None:
    """Meaning, unit and why the default: all in the description."""
    for name, field in PredictorSettings.model_fields.items():
        assert field.description, name


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_loopback_needs_no_permission(host: str) -> None:
    """Only this machine reaches it."""
    assert settings(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "telltale.example"])
def test_another_address_needs_words(host: str) -> None:
    """And the refusal says which."""
    with pytest.raises(ValidationError, match="TELLTALE_ALLOW_ANONYMOUS=true"):
        settings(host=host)
    assert settings(host=host, allow_anonymous=True).host == host


@pytest.mark.parametrize("how", [{"auth_secret": SECRET}, {"auth_jwks_url": "https://issuer.example/keys"}])
def test_another_address_may_be_listened_on_where_tokens_are_needed(how: dict[str, str]) -> None:
    """Authentication is the other way to be safe."""
    assert settings(host="0.0.0.0", **how).may_listen_on("0.0.0.0")


def test_a_secret_does_not_show() -> None:
    """Settings end up in tracebacks and logs."""
    assert SECRET not in repr(settings(auth_secret=SECRET))


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """TELLTALE_ and the name; the database by its usual name."""
    monkeypatch.setenv("TELLTALE_PORT", "9000")
    monkeypatch.setenv("DATABASE_URL", DATABASE)
    read = PredictorSettings()
    assert (read.port, read.database_url) == (9000, DATABASE)


def test_settings_do_not_change() -> None:
    """They are read once and passed down."""
    with pytest.raises(ValidationError):
        settings().port = 1  # type: ignore[misc]  # what is tested


def test_without_a_database_a_version_must_be_pinned() -> None:
    """Else nothing says what to serve."""
    with pytest.raises(ValidationError, match="set DATABASE_URL, or TELLTALE_MODEL and TELLTALE_MODEL_VERSION"):
        PredictorSettings()
    assert PredictorSettings(**PINNED).pinned
    assert not settings().pinned


@pytest.mark.parametrize("lone", PINNED)
def test_a_pinned_model_and_its_version_belong_together(lone: str) -> None:
    """One of them alone means nothing."""
    with pytest.raises(ValidationError, match="TELLTALE_MODEL and TELLTALE_MODEL_VERSION belong together"):
        settings(**{lone: PINNED[lone]})


def test_a_digest_is_of_a_pinned_version() -> None:
    """Of any other it would demand nothing."""
    with pytest.raises(ValidationError, match="TELLTALE_ARTIFACT_DIGEST needs"):
        settings(artifact_digest="sha256:00")
    assert PredictorSettings(**PINNED, artifact_digest="sha256:00").artifact_digest == "sha256:00"


@pytest.mark.parametrize("url", ["", "http://models.example/", "file://models", "file:models", "s3://No", "s3:///x"])
def test_a_model_store_is_named_by_a_url_that_can_be_read(url: str) -> None:
    """The refusal shows what came."""
    with pytest.raises(ValidationError, match=r"(an object store|a bucket's name) .*; got '.*'"):
        settings(model_store=url)


def test_models_are_read_from_the_model_store_if_one_is_named() -> None:
    """Without one, the object store has the models."""
    named = settings(object_store="/objects", model_store="s3://models/telltale")
    assert named.model_store_url == "s3://models/telltale"
    assert settings(object_store="/objects").model_store_url == "/objects"


def test_a_prediction_log_needs_a_database() -> None:
    """It has no other place."""
    with pytest.raises(ValidationError, match="TELLTALE_PREDICTION_LOG=true needs DATABASE_URL"):
        PredictorSettings(**PINNED, prediction_log=True)
    assert settings(prediction_log=True).prediction_log


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 65536},
        {"max_body_bytes": 10},
        {"max_records": 0},
        {"rate_limit": -1},
        {"trace_sample_ratio": 1.5},
        {"access_log": "loud"},
        {"log_level": "verbose"},
    ],
    ids=str,
)
def test_a_value_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    """Before anything starts with it."""
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        settings(**wrong)


def test_the_limits_are_the_contracts() -> None:
    """What a request may hold is handed on whole."""
    limits = settings(max_body_bytes=2048, max_records=3, max_features=4, max_id_characters=5).limits
    assert (limits.body_bytes, limits.records, limits.features, limits.id_characters) == (2048, 3, 4, 5)
