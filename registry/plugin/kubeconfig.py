"""Where the cluster is and who asks, as kubectl finds them: the same files, merged by the same rules.

It is read here, and not by a client library, because a command that ends an incident must start at once, and because
the quick ones know neither several files in KUBECONFIG nor version v1 of credential plugins.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from registry.plugin.errors import ConfigFault

Config = dict[str, Any]

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_KINDS = {"clusters": "cluster", "contexts": "context", "users": "user"}
_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


@dataclass(frozen=True)
class Endpoint:
    """A cluster and an account.

    Args:
        context: the kubeconfig's name for both.
        namespace: where to look unless told otherwise.
        cluster: the kubeconfig's entry: server, certificate authority, proxy.
        user: the kubeconfig's entry: a token, a certificate, or a program that gives one.

    """

    context: str
    namespace: str
    cluster: Mapping[str, Any]
    user: Mapping[str, Any]

    @property
    def server(self) -> str:
        """The API server's URL."""
        return str(self.cluster.get("server") or "http://localhost:8080").rstrip("/")


def find(environment: Mapping[str, str], kubeconfig: str | None, context: str | None) -> Endpoint:
    """Return where and as whom to ask: ``--kubeconfig``, else KUBECONFIG, else ~/.kube/config, else a pod's account."""
    if kubeconfig and not Path(kubeconfig).is_file():
        raise ConfigFault(f"there is no kubeconfig {kubeconfig}")
    config = merged(_candidates(environment, kubeconfig))
    if config["contexts"] or context or kubeconfig:
        return _selected(config, context)
    return _of_pod(environment)


def contexts(environment: Mapping[str, str], kubeconfig: str | None) -> list[str]:
    """Return the names of all contexts."""
    return sorted(merged(_candidates(environment, kubeconfig))["contexts"])


def _candidates(environment: Mapping[str, str], kubeconfig: str | None) -> list[Path]:
    if kubeconfig:
        return [Path(kubeconfig)]
    listed = [Path(part) for part in environment.get("KUBECONFIG", "").split(os.pathsep) if part]
    return listed or [Path.home() / ".kube" / "config"]


def merged(files: Iterable[Path]) -> Config:
    """Return one configuration of several files: of each name the first file's entry; a missing file is no error."""
    config: Config = {"current-context": None, "clusters": {}, "contexts": {}, "users": {}}
    for file in files:
        if not file.is_file():
            continue
        found = _read(file)
        config["current-context"] = config["current-context"] or found.get("current-context")
        for plural, singular in _KINDS.items():
            for entry in found.get(plural) or ():
                config[plural].setdefault(entry["name"], _with_whole_paths(entry.get(singular) or {}, file.parent))
    return config


def _read(file: Path) -> Config:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = yaml.load(file.read_text(), loader)  # noqa: S506 - it is the safe loader, in C where there is one
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigFault(f"the kubeconfig {file} cannot be read: {error}") from error
    if not isinstance(found or {}, dict):
        raise ConfigFault(f"{file} is no kubeconfig")
    return found or {}


def _with_whole_paths(entry: Config, folder: Path) -> Config:
    """Return an entry whose files are found from any working directory."""
    whole = dict(entry)
    for key in _FILES:
        if whole.get(key):
            whole[key] = str(folder / whole[key])
    program = whole.get("exec")
    if program and os.sep in program.get("command", ""):
        whole["exec"] = program | {"command": str(folder / program["command"])}
    return whole


def _selected(config: Config, context: str | None) -> Endpoint:
    name = context or config["current-context"]
    if not name:
        raise ConfigFault("the kubeconfig has no current context: choose one with `kubectl config use-context`")
    if name not in config["contexts"]:
        known = ", ".join(sorted(config["contexts"])) or "none"
        raise ConfigFault(f"the kubeconfig has no context {name!r} (it has: {known})")
    chosen = config["contexts"][name]
    cluster, user = chosen.get("cluster"), chosen.get("user")
    if cluster not in config["clusters"]:
        raise ConfigFault(f"context {name!r} names the cluster {cluster!r}, which the kubeconfig does not have")
    if user and user not in config["users"]:
        raise ConfigFault(f"context {name!r} names the user {user!r}, which the kubeconfig does not have")
    account = config["users"][user] if user else {}
    return Endpoint(name, chosen.get("namespace") or "default", config["clusters"][cluster], account)


def _of_pod(environment: Mapping[str, str], folder: Path = _SERVICE_ACCOUNT) -> Endpoint:
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (folder / "token").is_file():
        raise ConfigFault("no cluster is configured: set KUBECONFIG, or --kubeconfig, or make ~/.kube/config")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    cluster = {"server": server, "certificate-authority": str(folder / "ca.crt")}
    namespace = (folder / "namespace").read_text().strip()
    return Endpoint("in-cluster", namespace, cluster, {"tokenFile": str(folder / "token")})
