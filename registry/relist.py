"""The guard against watches that freeze or drop events: all objects are listed once a minute, and compared.

Only ServedModels of which something changed since the last list are looked at again, so a thousand that rest cost a few
requests a minute. It lists metadata alone. Actions are listed first: where a replica begins to lead, a thousand
ServedModels are to be looked at, and somebody may wait for one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from registry.kubernetes.api import KubernetesApi
from registry.kubernetes.resources import (
    DEPLOYMENTS,
    MODEL_REVISIONS,
    ROLLOUT_ACTIONS,
    SERVED_MODELS,
    SERVING,
    Resource,
)
from registry.rollout.manifests import SERVED_MODEL_LABEL
from registry.work_queue import Key

Fingerprint = frozenset[tuple[str, str]]


class Relist:
    """Lists everything, and tells which ServedModels to look at.

    Args:
        api: the API server.
        namespaces: to look at; empty for all.
        enqueue: told which ServedModel changed, or is new.
        hurry: told which has an action that is new and has not taken effect; None for ``enqueue``.

    """

    def __init__(
        self,
        api: KubernetesApi,
        namespaces: Iterable[str],
        enqueue: Callable[[Key], None],
        hurry: Callable[[Key], None] | None = None,
    ) -> None:
        self._api, self._namespaces = api, tuple(namespaces)
        self._enqueue, self._hurry = enqueue, hurry or enqueue
        self._known: dict[Key, Fingerprint] = {}
        self._pending: set[str] = set()

    def step(self) -> int:
        """List everything once; return how many ServedModels there are."""
        found: dict[Key, set[tuple[str, str]]] = {}
        known, self._pending = self._pending, set()
        acted = [action for namespace in self._namespaces or (None,) for action in self._actions(namespace, known)]
        for namespace in self._namespaces or (None,):
            self._list(namespace, found)
        for key, part in acted:
            if key in found:
                found[key].add(part)
        former, self._known = self._known, {key: frozenset(parts) for key, parts in found.items()}
        for key, fingerprint in self._known.items():
            if former.get(key) != fingerprint:
                self._enqueue(key)
        for key in former.keys() - self._known.keys():
            self._enqueue(key)
        return len(self._known)

    def forget(self) -> None:
        """Take everything as changed at the next list."""
        self._known, self._pending = {}, set()

    def _actions(self, namespace: str | None, known: set[str]) -> list[tuple[Key, tuple[str, str]]]:
        """List the actions, and have those looked at that are new and have not taken effect."""
        acted = []
        for action in self._api.list(ROLLOUT_ACTIONS, namespace):
            metadata, uid = action["metadata"], action["metadata"]["uid"]
            key = Key(metadata["namespace"], action["spec"]["servedModel"])
            acted.append((key, (uid, metadata["resourceVersion"])))
            if "state" not in (action.get("status") or {}):
                self._pending.add(uid)
                if uid not in known:
                    self._hurry(key)
        return acted

    def _list(self, namespace: str | None, found: dict[Key, set[tuple[str, str]]]) -> None:
        for manifest in self._api.list(SERVED_MODELS, namespace, metadata_only=True):
            metadata = manifest["metadata"]
            key = Key(metadata["namespace"], metadata["name"])
            found[key] = {(metadata["uid"], str(metadata["generation"]))}
        for resource in (MODEL_REVISIONS, DEPLOYMENTS, *SERVING):
            self._add_owned(resource, namespace, found)

    def _add_owned(self, resource: Resource, namespace: str | None, found: dict[Key, set[tuple[str, str]]]) -> None:
        for manifest in self._api.list(resource, namespace, SERVED_MODEL_LABEL, metadata_only=True):
            metadata = manifest["metadata"]
            key = Key(metadata["namespace"], metadata["labels"][SERVED_MODEL_LABEL])
            if key in found:
                found[key].add((metadata["uid"], metadata["resourceVersion"]))
