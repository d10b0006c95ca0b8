"""The flags by which kubectl is told where and as whom; they may stand before or after the command's name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from registry.plugin.cluster import Cluster
    from registry.plugin.kubeconfig import Endpoint

_KEY = "registry.plugin."
_Command = TypeVar("_Command", bound=Callable[..., Any])
_COMPLETION_SECONDS = 2.0
# A DNS-1123 subdomain, which is what the API server takes as a name.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 253


@dataclass(frozen=True)
class Access:
    """A cluster, and the namespace in it that is meant."""

    cluster: Cluster
    namespace: str


def connection_options(command: _Command) -> _Command:
    """Add kubectl's flags to a command; `access` reads them."""
    for decorate in reversed(_FLAGS):
        command = decorate(command)
    return command


def access(context: click.Context, timeout: float | None = None) -> Access:
    """Return what the flags and the kubeconfig say. Nothing is asked yet."""
    # A command's --help has no need of TLS and YAML, which are half of a start.
    from registry.plugin.cluster import Cluster  # noqa: PLC0415
    from registry.plugin.connection import Connection  # noqa: PLC0415
    from registry.plugin.credentials import Credentials  # noqa: PLC0415

    endpoint = _endpoint(context)
    credentials = Credentials(endpoint.user, endpoint.cluster)
    patience = timeout or float(_given(context, "request_timeout") or 10.0)
    impersonation = _impersonation(context)
    cluster = Cluster(lambda: Connection(endpoint, credentials, impersonation, patience))
    context.call_on_close(cluster.close)
    return Access(cluster, _given(context, "namespace") or endpoint.namespace)


def _endpoint(context: click.Context) -> Endpoint:
    from registry.plugin.kubeconfig import find  # noqa: PLC0415

    return find(os.environ, _given(context, "kubeconfig"), _given(context, "context"))


def _impersonation(context: click.Context) -> dict[str, str | list[str]]:
    user, groups = _given(context, "as_user"), _given(context, "as_group")
    if groups and not user:
        raise click.UsageError("--as-group needs --as")
    return ({"Impersonate-User": user} if user else {}) | ({"Impersonate-Group": list(groups)} if groups else {})


def object_name(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Return a name that an object can have, or None where none is given; else it is wrong usage."""
    if value is None or (len(value) <= _LONGEST_NAME and _NAME.fullmatch(value)):
        return value
    came = f'"{value}"' if value else "it is empty (a variable that is not set?)"
    raise click.BadParameter(
        f"{came}; a name has only lowercase letters, digits, '-' and '.', begins and ends each part between dots with a"
        f" letter or digit, and has at most {_LONGEST_NAME} characters"
    )


def complete_names(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the ServedModels whose names begin so."""
    from registry.kubernetes.resources import SERVED_MODELS  # noqa: PLC0415

    return _names(context, incomplete, lambda found: found.cluster.list(SERVED_MODELS, found.namespace)[0])


def complete_revisions(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the ServedModel's revisions whose names begin so."""
    from registry.api.group import SERVED_MODEL_LABEL  # noqa: PLC0415
    from registry.kubernetes.resources import MODEL_REVISIONS  # noqa: PLC0415

    name = context.params.get("name")
    selector = {"labelSelector": f"{SERVED_MODEL_LABEL}={name}"} if name else {}
    return _names(context, incomplete, lambda found: found.cluster.list(MODEL_REVISIONS, found.namespace, selector)[0])


def _names(context: click.Context, incomplete: str, listing: Callable[[Access], list[dict[str, Any]]]) -> list[str]:
    from registry.errors import RegistryError  # noqa: PLC0415

    try:
        found = access(context, _COMPLETION_SECONDS)
        with closing(found.cluster):
            names = [one["metadata"]["name"] for one in listing(found)]
    except RegistryError:
        return []  # a completion that cannot be had is no reason to disturb somebody who types
    return sorted(name for name in names if name.startswith(incomplete))


def _complete_contexts(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    from registry.plugin.kubeconfig import contexts  # noqa: PLC0415

    return [name for name in contexts(os.environ, _given(context, "kubeconfig")) if name.startswith(incomplete)]


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Keep a flag; one after the command's name comes later, and counts."""
    if value not in (None, ()):
        context.meta[f"{_KEY}{parameter.name}"] = value


def _given(context: click.Context, name: str) -> Any:
    return context.meta.get(f"{_KEY}{name}")


def _flag(*names: str, **more: Any) -> Callable[[Any], Any]:
    return click.option(*names, expose_value=False, callback=_keep, **more)


_FLAGS = (
    _flag("-n", "--namespace", help="The namespace; else the context's."),
    _flag("--context", help="Which context of the kubeconfig.", shell_complete=_complete_contexts),
    _flag("--kubeconfig", type=click.Path(dir_okay=False), help="The kubeconfig; else KUBECONFIG, or ~/.kube/config."),
    _flag("--as", "as_user", metavar="USER", help="Act as another user, where you may."),
    _flag("--as-group", "as_group", metavar="GROUP", multiple=True, help="And as one of a group; may be repeated."),
    _flag("--request-timeout", type=click.FloatRange(min=0.1), metavar="SECONDS", help="How long to wait for answers."),
)
