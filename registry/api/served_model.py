"""ServedModel: which model is to be served, by what, and how its versions are rolled out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from registry.api.base import DNS_LABEL, DNS_SUBDOMAIN, HOSTNAME, ApiModel, Cpu, Memory, rules

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
Hostname = Annotated[str, Field(min_length=1, max_length=253, pattern=HOSTNAME)]
MlflowName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Seconds = Annotated[int, Field(ge=0, le=31_536_000)]
Weight = Annotated[int, Field(ge=0, le=100)]


def _choice(*fields: str) -> ConfigDict:
    """Return the configuration of a model of which exactly one field is set."""
    present = " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields)
    return ConfigDict(json_schema_extra=rules((f"{present} == 1", f"exactly one of {', '.join(fields)} is to be set")))


def _within_limit(amount: str) -> tuple[str, str]:
    both = f"has(self.requests.{amount}) && has(self.limits.{amount})"
    asked, limit = (f"quantity(string(self.{part}.{amount}))" for part in ("requests", "limits"))
    message = f"requests.{amount} must not be more than limits.{amount}"
    return f"!({both}) || {asked}.compareTo({limit}) <= 0", message


class ModelSelector(ApiModel):
    """Which version of which MLflow model: exactly one of version, alias, tag and runId selects it."""

    model_config = _choice("version", "alias", "tag", "runId")

    name: MlflowName
    """The registered model's name."""
    version: str | None = Field(None, pattern=r"^[0-9]{14}$")
    """Telltale's model version id, such as 20240115100000."""
    alias: str | None = Field(None, min_length=1, max_length=255)
    """An MLflow alias, such as champion; it is followed when somebody moves it."""
    tag: str | None = Field(None, pattern=r"^[^=]+=.*$", max_length=500)
    """`key=value` of MLflow model version tags; the newest version that has it."""
    run_id: str | None = Field(None, pattern=r"^[0-9a-f]{32}$")
    """The MLflow run that registered the version."""


class ResourceAmounts(ApiModel):
    """CPU and memory, as Kubernetes writes quantities."""

    cpu: Cpu | None = None
    """Processors, such as 500m or 2."""
    memory: Memory | None = None
    """Bytes, such as 512Mi."""


class Resources(ApiModel):
    """What each predictor pod asks for and may use."""

    model_config = ConfigDict(json_schema_extra=rules(*(_within_limit(amount) for amount in ("cpu", "memory"))))

    requests: ResourceAmounts = ResourceAmounts(cpu="250m", memory="384Mi")
    """What a node must have left for it."""
    limits: ResourceAmounts = ResourceAmounts(cpu=None, memory="1Gi")
    """What it never gets more of."""


# What makes a pod that of one revision.
RESERVED_VARIABLES = (
    "TELLTALE_MODEL_STORE",
    "TELLTALE_MODEL",
    "TELLTALE_MODEL_VERSION",
    "TELLTALE_ARTIFACT_DIGEST",
)


class PredictorSpec(ApiModel):
    """The pods that answer. A change of any field but the replica counts makes a new revision."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.minReplicas <= self.maxReplicas", "minReplicas must not be more than maxReplicas")
        ),
    )

    image: str = Field(min_length=1, max_length=500, pattern=r"^[A-Za-z0-9._:/@\[\]-]+$")
    """The predictor image; by digest, so that a revision means the same bytes for ever."""
    model_store: str = Field(pattern=r"^(s3://[a-z0-9.-]{3,63}(/.*)?|file:///.+)$", max_length=1000)
    """Where models are read from: s3://bucket/prefix, or file:///folder of the image or a volume."""
    min_replicas: int = Field(1, ge=1, le=1000)
    """How many pods there are at the least."""
    max_replicas: int = Field(4, ge=1, le=1000)
    """How many pods there are at the most."""
    target_cpu_utilization: int = Field(60, ge=1, le=100, alias="targetCPUUtilization")
    """Percent of the CPU request at which pods are added."""
    resources: Resources = Resources()
    """CPU and memory of each pod."""
    service_account_name: ObjectName | None = None
    """The account whose role reads the model store (IRSA)."""
    env_from_secret: ObjectName | None = None
    """A Secret whose keys become environment variables: credentials of the store, authentication."""
    env: dict[str, Annotated[str, Field(max_length=4096)]] = Field(
        default_factory=dict,
        max_length=100,
        json_schema_extra=rules(
            ("self.all(name, name.matches('^[A-Za-z_][A-Za-z0-9_]*$'))", "env has a name that no variable can have"),
            (
                f"!self.exists(name, name in {list(RESERVED_VARIABLES)})",
                f"env must not set what the controller sets: {', '.join(RESERVED_VARIABLES)}",
            ),
        ),
    )
    """Further settings of the predictor, such as TELLTALE_LOG_LEVEL."""


class GatewayRef(ApiModel):
    """A Gateway of the Gateway API."""

    name: ObjectName
    """Its name."""
    namespace: Name | None = None
    """Empty: the ServedModel's own."""
    section_name: ObjectName | None = None
    """The one listener to attach to, such as https; empty: every listener that takes the hostnames."""


class RouteSpec(ApiModel):
    """How clients reach the model."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                (
                    "!has(self.grpcHostnames) || !self.grpcHostnames.exists(g, self.hostnames.exists(h, g == h"
                    " || (h.startsWith('*.') && g.endsWith(h.substring(1)))"
                    " || (g.startsWith('*.') && h.endsWith(g.substring(1)))))"
                ),
                "grpcHostnames and hostnames must have no host in common, wildcards too: a listener takes one of them",
            )
        ),
    )

    gateway_ref: GatewayRef
    """The Gateway to which the routes are attached."""
    hostnames: list[Hostname] = Field(min_length=1, max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"})
    """By which hosts clients ask for the model over HTTP; `*.example.com` is any name below example.com."""
    grpc_hostnames: list[Hostname] = Field(
        default_factory=list, max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    """By which hosts clients ask for the model over gRPC, other than those for HTTP; empty: no GRPCRoute is made."""


class Pause(ApiModel):
    """A wait: for a time, or until somebody resumes."""

    duration_seconds: Seconds | None = None
    """Empty: until somebody resumes."""


class GateStep(ApiModel):
    """Gates that must pass before the next step."""

    names: list[Name] | None = Field(
        None, min_length=1, max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    """Which of the spec's online gates; empty: all of them."""


class Approval(ApiModel):
    """A wait for somebody's Approve."""


class Shadow(ApiModel):
    """A copy of live requests goes to the candidate, whose answers nobody gets."""

    percent: int = Field(100, ge=1, le=100)
    """How much of the live requests is copied."""
    duration_seconds: Seconds = 300
    """For how long."""


class HeaderMatch(ApiModel):
    """Requests with this header go to the candidate, from this step on until the next weight."""

    header: str = Field(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_|~]+$")
    """The header's name."""
    value: str = Field(min_length=1, max_length=4096)
    """Its whole value."""


class Step(ApiModel):
    """One step of a rollout; exactly one field is set."""

    model_config = _choice("setWeight", "pause", "gate", "approval", "shadow", "match")

    set_weight: Weight | None = None
    """Percent of requests for the candidate."""
    pause: Pause | None = None
    """Wait: for a time, or until somebody resumes."""
    gate: GateStep | None = None
    """Wait for online gates."""
    approval: Approval | None = None
    """Wait for somebody's Approve; it is written as `approval: {}`."""
    shadow: Shadow | None = None
    """Copy requests to the candidate."""
    match: HeaderMatch | None = None
    """Send requests with a header to the candidate."""


class Rollout(ApiModel):
    """The way from the stable revision to a new one."""

    steps: list[Step] = Field(default_factory=list, max_length=50)
    """In order; after the last one the candidate gets everything."""
    progress_deadline_seconds: Annotated[int, Field(ge=10, le=604_800)] = 600
    """How long a step may wait for pods, traffic or data before the rollout is given up. Pauses and approvals may take
    longer."""


_MIN_MAX = ("!has(self.min) || !has(self.max) || self.min <= self.max", "min must not be more than max")


class MlflowGate(ApiModel):
    """A metric of the candidate's MLflow run, absolute or against the stable version's."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.min) || has(self.max) || has(self.maxIncrease) || has(self.maxDecrease)",
                "a limit is missing: set min, max, maxIncrease or maxDecrease",
            ),
            _MIN_MAX,
        ),
    )

    metric: str = Field(min_length=1, max_length=250)
    """The metric's name in the run."""
    min: float | None = None
    """The least that it may be."""
    max: float | None = None
    """The most that it may be."""
    max_increase: float | None = Field(None, ge=0)
    """How much more than the stable version's value it may be."""
    max_decrease: float | None = Field(None, ge=0)
    """How much less than the stable version's value it may be."""


class PrometheusGate(ApiModel):
    """A query whose one value must keep its limits."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.min) || has(self.max)", "a limit is missing: set min or max"),
            _MIN_MAX,
            (
                "!has(self.minimumSamples) || has(self.samplesQuery)",
                "minimumSamples needs samplesQuery, which counts them",
            ),
        ),
    )

    query: str = Field(min_length=1, max_length=5000)
    """PromQL. `{candidate}` and `{stable}` stand for the revisions' names, `{namespace}` for the namespace and
    `{elapsed}` for the seconds since the candidate's share of the requests last changed."""
    min: float | None = None
    """The least that the value may be."""
    max: float | None = None
    """The most that the value may be."""
    samples_query: str | None = Field(None, min_length=1, max_length=5000)
    """PromQL that counts what the value stands on, with the same placeholders."""
    minimum_samples: int | None = Field(None, ge=1, le=1_000_000_000)
    """With fewer there is no verdict yet, and the step waits."""


class Gate(ApiModel):
    """A condition on a candidate: an offline one from MLflow, or an online one from Prometheus."""

    model_config = _choice("mlflow", "prometheus")

    name: Name
    """Its name, by which steps and messages call it; no other gate has it."""
    mlflow: MlflowGate | None = None
    """Offline: judged before any traffic."""
    prometheus: PrometheusGate | None = None
    """Online: judged at gate steps, and while a promoted revision is watched."""


class FreezeWindow(ApiModel):
    """A time in which no rollout starts and no weight rises."""

    schedule: str = Field(min_length=9, max_length=100, pattern=r"^[0-9A-Za-z*/,#-]+( +[0-9A-Za-z*/,#-]+){4}$")
    """When it begins, as cron writes it: minute, hour, day of month, month, day of week."""
    duration_seconds: Annotated[int, Field(ge=60, le=2_678_400)]
    """How long it lasts."""
    time_zone: str = Field(
        "Etc/UTC",
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9_+\-/]+$",
        # The API server knows the time zones; one that it does not know makes the rule itself fail.
        json_schema_extra=rules(
            ("self != 'Local' && timestamp('2024-01-01T00:00:00Z').getHours(self) >= 0", "no such time zone")
        ),
    )
    """An IANA name, such as Europe/Berlin."""


class Rollback(ApiModel):
    """How long the way back is kept short."""

    keep_warm_seconds: Seconds = 900
    """How long the former revision's pods stay after a promotion, so that undo is one write."""
    auto_window_seconds: Seconds = 300
    """How long after a promotion failing online gates roll back by themselves (baking)."""


class Notifications(ApiModel):
    """Who is told of what happens."""

    webhook_secret: ObjectName
    """A Secret with the key `url`, to which a JSON document is posted at every change of phase."""


class ServedModelSpec(ApiModel):
    """What is wanted."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                (
                    "!has(self.rollout.steps) || self.rollout.steps.all(s, !has(s.gate) || !has(s.gate.names) ||"
                    " s.gate.names.all(n, has(self.gates) && self.gates.exists(g, g.name == n && has(g.prometheus))))"
                ),
                "a gate step names a gate that spec.gates does not have as a prometheus gate",
            ),
            (
                (
                    "!has(self.rollout.steps) || !self.rollout.steps.exists(s, has(s.gate)) ||"
                    " (has(self.gates) && self.gates.exists(g, has(g.prometheus)))"
                ),
                "a gate step needs a prometheus gate in spec.gates",
            ),
        ),
    )

    model: ModelSelector
    """Which version of which MLflow model."""
    predictor: PredictorSpec
    """The pods that answer."""
    route: RouteSpec
    """How clients reach the model."""
    rollout: Rollout = Rollout()
    """How a new version gets its traffic."""
    gates: list[Gate] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    """What a new version must keep to; offline ones before any traffic, online ones at the steps that ask for them."""
    freeze_windows: list[FreezeWindow] = Field(default_factory=list, max_length=32)
    """When no rollout starts and no weight rises."""
    rollback: Rollback = Rollback()
    """How long the way back is kept short."""
    notifications: Notifications | None = None
    """Who is told of what happens."""
    revision_history_limit: int = Field(10, ge=1, le=100)
    """How many former revisions are kept to undo to."""
    suspend: bool = False
    """No rollout starts or goes on while it is true, but for aborts and undos; hosts and replicas follow the spec."""
    plan_only: bool = False
    """Resolve and judge, say what would be done, and roll nothing out."""


Phase = Literal[
    "Pending",
    "Validating",
    "Frozen",
    "AwaitingApproval",
    "Shadowing",
    "Progressing",
    "Paused",
    "Promoting",
    "Baking",
    "Healthy",
    "RollingBack",
    "Rejected",
]
