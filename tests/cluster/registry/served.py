"""A ServedModel as a person has it: the file that examples/registry offers, other steps, and `kubectl telltale`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, TypeVar

import httpx
import yaml

from registry.kubernetes.resources import INFERENCE_SERVICES, ROLLOUT_ACTIONS, Manifest
from registry.records import TAG_PREFIX, mlflow_alias
from registry.work_queue import Key
from tests.cluster.cluster import Cluster
from tests.cluster.registry.fleet import Fleet
from tests.cluster.registry.load import Load, loading, rest, stub
from tests.registry.cluster.cluster import Cluster as Objects
from tests.registry.cluster.people import Person
from tests.waiting import wait_for

EXAMPLES = Path(__file__).parents[3] / "examples" / "registry"
_COMMENT = re.compile(r"^#.*$", re.MULTILINE)
_ROLLOUT_SECONDS = 90.0
_Found = TypeVar("_Found")


def manifest(values: dict[str, str], **spec: Any) -> Manifest:
    """Return the example, filled in, with parts of its spec replaced."""
    text = Template(_COMMENT.sub("", (EXAMPLES / "servedmodel.yaml").read_text())).substitute(values)
    found: Manifest = yaml.safe_load(text)
    found["spec"] |= spec
    return found


@dataclass(frozen=True)
class Moment:
    """What the status said when it was looked at."""

    at: float
    phase: str
    step: int | None
    weight: int | None

    @classmethod
    def of(cls, at: float, status: Manifest) -> Moment:
        """Return the moment of a status."""
        attempt = status.get("attempt") or {}
        return cls(at, status.get("phase", ""), attempt.get("step"), attempt.get("weight"))


class Served:
    """A ServedModel of a test's own; its alias in MLflow has its name.

    Args:
        name: of the ServedModel.
        values: what the example is filled in with.
        cluster: the namespace, for kubectl.
        objects: the same, for reading what is there.
        fleet: trains its versions.
        logs: returns what the controllers said, for failures.

    """

    def __init__(
        self, values: dict[str, str], cluster: Cluster, objects: Objects, fleet: Fleet, logs: Callable[[], str]
    ) -> None:
        self.name, self.http_host, self.grpc_host = values["NAME"], values["HTTP_HOST"], values["GRPC_HOST"]
        self._values, self._cluster, self._objects, self._fleet, self._logs = values, cluster, objects, fleet, logs

    @property
    def spec(self) -> Manifest:
        """The example's."""
        found: Manifest = manifest(self._values)["spec"]
        return found

    def create(self, **spec: Any) -> None:
        """Create it; times are short, and there is one pod for each revision."""
        example = self.spec
        predictor = example["predictor"] | {"maxReplicas": 1, "resources": _SMALL}
        rollback = {"autoWindowSeconds": 5, "keepWarmSeconds": 120}
        selector = example["model"] | {"alias": self.name}
        whole = {"model": selector, "predictor": predictor, "rollback": rollback} | spec
        self._cluster.kubectl("apply", "--filename=-", stdin=yaml.safe_dump(manifest(self._values, **whole)))

    def follow(self, version: str) -> None:
        """Move its alias, as a person does in MLflow's UI."""
        self._fleet.alias(self.name, version)

    def gates(self, **minimum: int) -> list[Manifest]:
        """Return the example's gates, of which some stand on fewer samples."""
        found: list[Manifest] = self.spec["gates"]
        for gate in found:
            if gate["name"] in minimum:
                gate["prometheus"]["minimumSamples"] = minimum[gate["name"]]
        return found

    def patch(self, spec: Manifest) -> None:
        """Change its spec, as a person does."""
        patch = yaml.safe_dump({"spec": spec})
        self._cluster.kubectl("patch", "servedmodel", self.name, "--type=merge", f"--patch={patch}")

    def delete(self) -> None:
        """Delete it, with all that belongs to it."""
        self._cluster.kubectl("delete", "servedmodel", self.name)

    def noted_alias(self) -> str:
        """Return MLflow's number of the version that the controller's own alias names."""
        return self._fleet.named_by(mlflow_alias(self._key))

    def noted(self, what: str, version: str) -> str:
        """Return what the controller wrote of this ServedModel to a version in MLflow."""
        return self._fleet.tags(version).get(f"{TAG_PREFIX}.{self._key.namespace}.{self.name}.{what}", "")

    @property
    def _key(self) -> Key:
        return Key(self._cluster.namespace, self.name)

    @property
    def status(self) -> Manifest:
        """Where its rollout stands."""
        return self._objects.status(self.name)

    def condition(self, kind: str) -> Manifest:
        """Return one of its conditions, or nothing."""
        found = (condition for condition in self.status.get("conditions", []) if condition["type"] == kind)
        return next(found, {})

    def weights(self) -> dict[str, int]:
        """Return the weights of its HTTPRoute, by revision."""
        return self._objects.weights(self.name)

    def revisions(self) -> set[str]:
        """Return the revisions that have pods, or are to have some."""
        owned = (one["metadata"] for one in self._objects.list(INFERENCE_SERVICES))
        return {
            one["name"] for one in owned if one["name"].startswith(f"{self.name}-") and "deletionTimestamp" not in one
        }

    def wait_for(self, look: Callable[[], _Found | None], what: str, seconds: float = _ROLLOUT_SECONDS) -> _Found:
        """Return what ``look`` finds; where nothing comes, what the ServedModel and the controllers say is told."""
        try:
            return wait_for(look, what, seconds)
        except AssertionError as error:
            told = yaml.safe_dump(self.status) + self._logs()
            raise AssertionError(f"{error}\n{told}") from error

    def wait_for_phase(self, *phases: str, of: str | None = None, seconds: float = _ROLLOUT_SECONDS) -> Manifest:
        """Return its status once it is in one of the phases, and the revision of version ``of`` is resolved."""

        def look() -> Manifest | None:
            status = self.status
            is_of = of is None or (status.get("resolved") or {}).get("version") == of
            return status if status.get("phase") in phases and is_of else None

        return self.wait_for(look, f"phase {' or '.join(phases)}", seconds)

    def watch_until(self, is_over: Callable[[Manifest], bool], seconds: float = _ROLLOUT_SECONDS) -> list[Moment]:
        """Return each look at its status until something is so."""
        seen: list[Moment] = []

        def look() -> bool:
            at = time.monotonic()
            status = self.status
            seen.append(Moment.of(at, status))
            return is_over(status)

        self.wait_for(look, "the end of what is watched", seconds)
        return seen

    @contextmanager
    def rest(self) -> Iterator[httpx.Client]:
        """Yield a client of its HTTPRoute."""
        with rest(self.http_host) as client:
            yield client

    @contextmanager
    def stub(self) -> Iterator[Any]:
        """Yield a client of its GRPCRoute."""
        with stub(self.grpc_host) as client:
            yield client

    @contextmanager
    def loaded(self, **canary: str) -> Iterator[Load]:
        """Send requests while the block runs, from the moment that the Gateway routes them; some with headers."""
        with self.rest() as client:
            self.wait_for(lambda: client.get("/health/ready").status_code == 200, "the way through the Gateway")
        with self.stub() as stub:
            stub.ServerReady(_protocol().ServerReadyRequest(), timeout=20, wait_for_ready=True)
        with loading(self.http_host, self.grpc_host, canary) as load:
            yield load

    def scored_by_pods(self, revision: str) -> float:
        """Return how many score requests the pods of a revision have answered, as their own metrics count them."""
        return sum(self._scored(pod["metadata"]["name"]) for pod in self._cluster.pods_of(revision))

    def _scored(self, pod: str) -> float:
        path = f"/api/v1/namespaces/{self._cluster.namespace}/pods/{pod}:8080/proxy/metrics"
        exposition = self._cluster.kubectl("get", f"--raw={path}")
        counts = re.findall(r"^telltale_score_requests_total\{.*\} (\S+)$", exposition, re.MULTILINE)
        return sum(float(count) for count in counts)

    def telltale(self, *words: str, user: str) -> subprocess.CompletedProcess[str]:
        """Run `kubectl telltale` as somebody."""
        command = ["kubectl", "telltale", words[0], self.name, *words[1:]]
        flags = ["--namespace", self._cluster.namespace, "--as", user]
        beside = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "140"}
        environment = os.environ | beside
        return subprocess.run(
            [*command, *flags], capture_output=True, text=True, timeout=60, check=False, env=environment
        )

    def create_action(self, action: str, *, user: str, reason: str) -> None:
        """Create a RolloutAction as somebody, and wait for nothing."""
        spec = {"servedModel": self.name, "action": action, "requestedBy": user, "reason": reason}
        person = Person(self._cluster.namespace, user)
        answer = person.create(ROLLOUT_ACTIONS, f"{self.name}-{time.monotonic_ns()}", spec)
        person.close()
        assert answer.status == 201, answer.message

    def act(self, *words: str, user: str = "alice") -> str:
        """Do something by `kubectl telltale`, which must come to something."""
        done = self.telltale(*words, user=user)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{self._logs()}"
        return done.stdout


_SMALL = {"requests": {"cpu": "25m", "memory": "192Mi"}, "limits": {"memory": "1Gi"}}


def _protocol() -> Any:
    from tests.cluster.test_kserve import protocol

    return protocol()
