"""docs/security.md says what the code does, as far as a machine can tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from predictor.security import connection_limits
from predictor.security.connection_limits import ConnectionLimits, ConnectionRefusal
from predictor.security.errors import Reason
from predictor.security.principal import SCOPES
from predictor.settings import PredictorSettings

_TEXT = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
_LIMITS = (
    "max_body_bytes", "max_records", "max_features", "max_id_characters", "max_header_bytes", "max_connections",
    "header_seconds", "body_idle_seconds",
)  # fmt: skip
_OTHERS = (
    "auth_jwks_allow_http", "auth_leeway_seconds", "auth_jwks_refresh_seconds", "auth_jwks_unknown_seconds",
    "rate_limit", "rate_limit_burst",
)  # fmt: skip
_UNSET = ("auth_secret", "auth_jwks_url", "auth_audience", "auth_issuer", "cors_origins")


def _default(name: str) -> str:
    return str(PredictorSettings.model_fields[name].default).lower()


@pytest.mark.parametrize("name", _LIMITS)
def test_each_limit_stands_with_its_setting_and_default(name: str) -> None:
    assert f"| `TELLTALE_{name.upper()}` | {_default(name)} |" in _TEXT


@pytest.mark.parametrize("name", _OTHERS)
def test_each_other_setting_stands_with_its_default(name: str) -> None:
    assert f"`TELLTALE_{name.upper()}` ({_default(name)})" in " ".join(_TEXT.split())


def test_no_setting_of_security_is_left_out() -> None:
    from predictor.security.settings import SecuritySettings

    assert set(SecuritySettings.model_fields) <= {*_LIMITS, *_OTHERS, *_UNSET}
    for name in _UNSET:
        assert f"`TELLTALE_{name.upper()}`" in _TEXT
        assert _default(name) in ("none", "")


def test_limits_that_cannot_be_set_stand_with_their_values() -> None:
    limits = ConnectionLimits()
    for row in (
        f"| the URL | | {limits.url_bytes // 1024} KiB | 414 |",
        f"| header fields | | {limits.header_fields} | 431 |",
        f"take 1 KiB of its answer | | {limits.write_seconds:g} | closed |",
    ):
        assert row in _TEXT
    assert limits.step_bytes == 1024


def test_every_scope_and_every_reason_stands_there() -> None:
    refusals = [one for one in vars(connection_limits).values() if isinstance(one, ConnectionRefusal)]
    counted = {reason.value for reason in Reason} - {"rate_limited"} | {refusal.reason for refusal in refusals}
    for name in counted | SCOPES:
        assert f"`{name}`" in _TEXT
