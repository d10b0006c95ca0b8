from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from registry.plugin.credentials import Credentials, prove
from registry.plugin.errors import ConfigFault

V1 = "client.authentication.k8s.io/v1"
V1BETA1 = "client.authentication.k8s.io/v1beta1"


def plugin(folder: Path, body: str, **more: Any) -> dict[str, Any]:
    """Return a user whose credentials a Python program prints; `info` is what it is asked."""
    file = folder / "login.py"
    file.write_text(f"import json, os, sys\ninfo = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n{body}")
    return {"exec": {"apiVersion": V1, "command": sys.executable, "args": [str(file)], **more}}


ANSWER = "print(json.dumps({'apiVersion': info['apiVersion'], 'kind': 'ExecCredential', 'status': %s}))"


@pytest.mark.parametrize("version", [V1, V1BETA1])
def test_a_credential_plugin_is_asked_in_its_own_version(tmp_path: Path, version: str) -> None:
    user = plugin(tmp_path, ANSWER % "{'token': info['kind'] + os.environ['WHO']}", apiVersion=version)
    user["exec"]["env"] = [{"name": "WHO", "value": "-alice"}]
    assert prove(user, {}).authorization == "Bearer ExecCredential-alice"


def test_a_credential_plugin_is_told_of_the_cluster_where_it_asks_for_that(tmp_path: Path) -> None:
    body = ANSWER % "{'token': info['spec'].get('cluster', {}).get('server', 'untold')}"
    cluster = {"server": "https://one"}
    assert prove(plugin(tmp_path, body), cluster).authorization == "Bearer untold"
    assert prove(plugin(tmp_path, body, provideClusterInfo=True), cluster).authorization == "Bearer https://one"


def test_a_credential_plugin_may_give_a_certificate(tmp_path: Path) -> None:
    found = prove(plugin(tmp_path, ANSWER % "{'clientCertificateData': 'C', 'clientKeyData': 'K'}"), {})
    assert (found.authorization, found.certificate, found.key) == (None, b"C", b"K")


@pytest.mark.parametrize(
    ("body", "more", "said"),
    [
        ("sys.exit(3)", {}, "failed with exit code 3"),
        ("print('hello')", {}, "did not answer with an ExecCredential"),
        (ANSWER % "{}", {}, "neither a token nor a certificate"),
        ("print(json.dumps({'apiVersion': 'x/v9', 'status': {'token': 't'}}))", {}, "answered in x/v9"),
        ("", {"apiVersion": "else/v1"}, "has the apiVersion else/v1"),
        ("", {"command": "no-such-program", "installHint": "Install it."}, "cannot be run: .* Install it."),
    ],
)
def test_a_credential_plugin_that_gives_nothing_is_named(
    tmp_path: Path, body: str, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigFault, match=said):
        prove(plugin(tmp_path, body, **more), {})


def test_a_program_runs_once_until_what_it_gave_is_refused(tmp_path: Path) -> None:
    count = tmp_path / "count"
    body = f"open({str(count)!r}, 'a').write('x')\n" + ANSWER % f"{{'token': open({str(count)!r}).read()}}"
    credentials = Credentials(plugin(tmp_path, body), {})
    first = credentials.proof()
    assert credentials.proof() is first
    second = credentials.fresh(first)
    assert (first.authorization, second.authorization) == ("Bearer x", "Bearer xx")
    assert credentials.fresh(first) is second, "another thread has fetched it meanwhile"


def test_tokens_files_passwords_and_certificates_prove_who_asks(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("rotated\n")
    coded = base64.b64encode(b"PEM").decode()
    assert prove({"token": "t"}, {}).authorization == "Bearer t"
    assert prove({"token": "t", "tokenFile": str(tmp_path / "token")}, {}).authorization == "Bearer rotated"
    assert prove({"username": "a", "password": "b"}, {}).authorization == f"Basic {base64.b64encode(b'a:b').decode()}"
    assert prove({"client-certificate-data": coded, "client-key-data": coded}, {}).certificate == b"PEM"
    assert prove({}, {}).authorization is None
    assert json.dumps(prove({}, {}).certificate) == "null"


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ({"auth-provider": {"name": "gcp"}}, "auth-provider"),
        ({"tokenFile": "/no/such/file"}, "cannot be read"),
        ({"client-key-data": "%"}, "not in base64"),
    ],
)
def test_what_cannot_prove_anything_is_said(user: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigFault, match=said):
        prove(user, {})
