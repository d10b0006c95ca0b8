"""What proves who asks: a token, a certificate or a password of the kubeconfig, or a program that gives one.

The program is run as `client.authentication.k8s.io` v1 and v1beta1 say (`aws eks get-token` is one). Nothing is kept
on disk.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from registry.plugin.errors import ConfigFault

_GROUP = "client.authentication.k8s.io/"
_HANDED_ON = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url")


@dataclass(frozen=True)
class Proof:
    """What a request is proved by; all may be None for an anonymous one.

    Args:
        authorization: the header's value.
        certificate: the client's, in PEM.
        key: its key, in PEM.

    """

    authorization: str | None = None
    certificate: bytes | None = None
    key: bytes | None = None


class Credentials:
    """Gives the proof, and a fresh one when the API server refused it. Several threads may ask.

    Args:
        user: the kubeconfig's entry.
        cluster: the kubeconfig's entry, for programs that want to know it.

    """

    def __init__(self, user: Mapping[str, Any], cluster: Mapping[str, Any]) -> None:
        self._user, self._cluster = user, cluster
        self._lock = Lock()
        self._proof: Proof | None = None

    def proof(self) -> Proof:
        """Return the proof."""
        with self._lock:
            if self._proof is None:
                self._proof = prove(self._user, self._cluster)
            return self._proof

    def fresh(self, refused: Proof) -> Proof:
        """Return another than ``refused``, where there may be one: a program's, or a rotated file's."""
        with self._lock:
            if self._proof is refused and ("exec" in self._user or "tokenFile" in self._user):
                self._proof = prove(self._user, self._cluster)
            return self._proof or refused


def prove(user: Mapping[str, Any], cluster: Mapping[str, Any]) -> Proof:
    """Return what an entry of the kubeconfig proves itself by; what kubectl prefers comes first."""
    certificate = pem(user, "client-certificate")
    key = pem(user, "client-key")
    if user.get("tokenFile"):
        return Proof(f"Bearer {_content(user['tokenFile']).decode().strip()}", certificate, key)
    if user.get("token"):
        return Proof(f"Bearer {user['token']}", certificate, key)
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}".encode()
        return Proof(f"Basic {base64.b64encode(pair).decode()}", certificate, key)
    if user.get("exec"):
        return _run(user["exec"], cluster)
    if user.get("auth-provider"):
        raise ConfigFault("the kubeconfig's user has an auth-provider, which kubectl gave up: use an exec plugin")
    return Proof(None, certificate, key)


def pem(entry: Mapping[str, Any], name: str) -> bytes | None:
    """Return what an entry has as `{name}-data`, or in the file that `{name}` names; None where it has neither."""
    if entry.get(f"{name}-data"):
        try:
            return base64.b64decode("".join(entry[f"{name}-data"].split()), validate=True)
        except binascii.Error as error:
            raise ConfigFault(f"the kubeconfig's {name}-data is not in base64") from error
    return _content(entry[name]) if entry.get(name) else None


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigFault(f"a file that the kubeconfig names cannot be read: {error}") from error


def _run(program: Mapping[str, Any], cluster: Mapping[str, Any]) -> Proof:
    """Run a credential plugin, and return what it gives."""
    version, command = str(program.get("apiVersion")), str(program.get("command"))
    if not version.startswith(_GROUP):
        raise ConfigFault(f"the credential plugin {command} has the apiVersion {version}, and not one of {_GROUP}*")
    environment = os.environ | {pair["name"]: pair["value"] for pair in program.get("env") or ()}
    environment["KUBERNETES_EXEC_INFO"] = json.dumps(_question(program, version, cluster))
    try:
        answer = subprocess.run(  # noqa: S603 - what the user's own kubeconfig names
            [command, *(program.get("args") or ())], env=environment, stdout=subprocess.PIPE, check=False
        )
    except OSError as error:
        hint = f". {program['installHint']}" if program.get("installHint") else ""
        raise ConfigFault(f"the credential plugin {command} cannot be run: {error.strerror}{hint}") from error
    if answer.returncode:
        raise ConfigFault(f"the credential plugin {command} failed with exit code {answer.returncode}")
    return _given(answer.stdout, version, command)


def _question(program: Mapping[str, Any], version: str, cluster: Mapping[str, Any]) -> dict[str, Any]:
    interactive = sys.stdin.isatty() and program.get("interactiveMode") != "Never"
    asked: dict[str, Any] = {"interactive": interactive}
    if program.get("provideClusterInfo"):
        asked["cluster"] = {name: cluster[name] for name in _HANDED_ON if cluster.get(name)}
    return {"apiVersion": version, "kind": "ExecCredential", "spec": asked}


def _given(output: bytes, version: str, command: str) -> Proof:
    try:
        document = json.loads(output)
        status = document["status"]
        given = document["apiVersion"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigFault(f"the credential plugin {command} did not answer with an ExecCredential") from error
    if given != version:
        raise ConfigFault(f"the credential plugin {command} answered in {given}, and {version} was asked for")
    token, certificate = status.get("token"), status.get("clientCertificateData")
    if not token and not certificate:
        raise ConfigFault(f"the credential plugin {command} gave neither a token nor a certificate")
    key = status.get("clientKeyData")
    return Proof(
        f"Bearer {token}" if token else None,
        certificate.encode() if certificate else None,
        key.encode() if key else None,
    )
