"""Which proxy a cluster is reached through: the kubeconfig's, else the environment's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from registry.plugin.errors import ConfigFault


def proxy_of(cluster: Mapping[str, Any], scheme: str, host: str) -> tuple[str, int] | None:
    """Return a proxy's host and port, or None for a direct way; this machine is always reached directly."""
    url = cluster.get("proxy-url") or _by_environment(scheme, host)
    if not url:
        return None
    proxy = urlsplit(url if "://" in url else f"http://{url}")
    if proxy.scheme != "http" or not proxy.hostname or proxy.username:
        raise ConfigFault(f"the proxy at {proxy.hostname} cannot be used: only http:// without a password can")
    return proxy.hostname, proxy.port or 80


def _by_environment(scheme: str, host: str) -> str | None:
    if host == "localhost" or host.startswith("127.") or host == "::1":
        return None
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 - it is slow to load

    return None if proxy_bypass(host) else getproxies().get(scheme)
