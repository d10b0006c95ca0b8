"""ServedModel: which model is to be served, by what, and how its versions are rolled out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from registry.api.base import DNS_LABEL, ApiModel, rules

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
Seconds = Annotated[int, Field(ge=0, le=31_536_000)]
Weight = Annotated[int, Field(ge=0, le=100)]


def _choice(*fields: str) -> ConfigDict:
    """Return the configuration of a model of which exactly one field is set."""
    present = " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields)
    return ConfigDict(json_schema_extra=rules((f"{present} == 1", f"exactly one of {', '.join(fields)} is to be set")))


class ModelSelector(ApiModel):
    """Which version of which MLflow model: exactly one of version, alias, tag and runId selects it."""

    model_config = _choice("version", "alias", "tag", "runId")

    name: str = Field(min_length=1, max_length=63, pattern=r"^[a-z0-9][a-z0-9_-]*$")
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

    cpu: str | None = Field(None, pattern=r"^[0-9]+(\.[0-9]+)?m?$")
    memory: str | None = Field(None, pattern=r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$")


class Resources(ApiModel):
    """What each predictor pod asks for and may use."""

    requests: ResourceAmounts = ResourceAmounts(cpu="250m", memory="384Mi")
    limits: ResourceAmounts = ResourceAmounts(cpu=None, memory="1Gi")


class PredictorSpec(ApiModel):
    """The pods that answer. A change of any field but the replica counts makes a new revision."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.minReplicas <= self.maxReplicas", "minReplicas must not be more than maxReplicas")
        ),
    )

    image: str = Field(min_length=1, max_length=500)
    """The predictor image; by digest, so that a revision means the same bytes for ever."""
    model_store: str = Field(pattern=r"^(s3://[a-z0-9.-]{3,63}(/.*)?|file:///.+)$", max_length=1000)
    """Where models are read from: s3://bucket/prefix, or file:///folder of the image or a volume."""
    min_replicas: int = Field(1, ge=1, le=1000)
    max_replicas: int = Field(4, ge=1, le=1000)
    target_cpu_utilization: int = Field(60, ge=1, le=100, alias="targetCPUUtilization")
    """Percent of the CPU request at which pods are added."""
    resources: Resources = Resources()
    service_account_name: Name | None = None
    """The account whose role reads the model store (IRSA)."""
    env_from_secret: Name | None = None
    """A Secret whose keys become environment variables: credentials of the store, authentication."""
    env: dict[str, str] = Field(default_factory=dict, max_length=100)
    """Further settings of the predictor, such as TELLTALE_LOG_LEVEL."""


class GatewayRef(ApiModel):
    """A Gateway of the Gateway API."""

    name: Name
    namespace: Name | None = None
    """Empty: the ServedModel's own."""


class RouteSpec(ApiModel):
    """How clients reach the model."""

    gateway_ref: GatewayRef
    hostnames: list[Annotated[str, Field(min_length=1, max_length=253)]] = Field(min_length=1, max_length=16)


class Pause(ApiModel):
    """A wait: for a time, or until somebody resumes."""

    duration_seconds: Seconds | None = None


class GateStep(ApiModel):
    """Gates that must pass before the next step."""

    names: list[Name] | None = Field(None, min_length=1, max_length=32)
    """Which of the spec's online gates; empty: all of them."""


class Approval(ApiModel):
    """A wait for somebody's Approve."""


class Shadow(ApiModel):
    """A copy of live requests goes to the candidate, whose answers nobody gets."""

    percent: int = Field(100, ge=1, le=100)
    duration_seconds: Seconds = 300


class HeaderMatch(ApiModel):
    """Requests with this header go to the candidate, from this step on until the next weight."""

    header: str = Field(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_|~]+$")
    value: str = Field(min_length=1, max_length=4096)


class Step(ApiModel):
    """One step of a rollout; exactly one field is set."""

    model_config = _choice("setWeight", "pause", "gate", "approval", "shadow", "match")

    set_weight: Weight | None = None
    """Percent of requests for the candidate."""
    pause: Pause | None = None
    gate: GateStep | None = None
    approval: Approval | None = None
    shadow: Shadow | None = None
    match: HeaderMatch | None = None


class Rollout(ApiModel):
    """The way from the stable revision to a new one."""

    steps: list[Step] = Field(default_factory=list, max_length=50)
    """In order; after the last one the candidate gets everything."""
    progress_deadline_seconds: Annotated[int, Field(ge=10, le=604_800)] = 600
    """How long a step may wait for pods, traffic or data before the rollout is given up. Pauses and approvals may take
    longer."""


class MlflowGate(ApiModel):
    """A metric of the candidate's MLflow run, absolute or against the stable version's."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.min) || has(self.max) || has(self.maxIncrease) || has(self.maxDecrease)",
                "a limit is missing: set min, max, maxIncrease or maxDecrease",
            )
        ),
    )

    metric: str = Field(min_length=1, max_length=250)
    min: float | None = None
    max: float | None = None
    max_increase: float | None = Field(None, ge=0)
    """How much more than the stable version's value it may be."""
    max_decrease: float | None = Field(None, ge=0)
    """How much less than the stable version's value it may be."""


class PrometheusGate(ApiModel):
    """A query whose one value must keep its limits."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.min) || has(self.max)", "a limit is missing: set min or max"),
            (
                "!has(self.minimumSamples) || has(self.samplesQuery)",
                "minimumSamples needs samplesQuery, which counts them",
            ),
        ),
    )

    query: str = Field(min_length=1, max_length=5000)
    """PromQL. `{candidate}` and `{stable}` stand for the revisions' names, `{namespace}` for the namespace and
    `{elapsed}` for the seconds since the candidate got this step's traffic."""
    min: float | None = None
    max: float | None = None
    samples_query: str | None = Field(None, min_length=1, max_length=5000)
    """PromQL that counts what the value stands on, with the same placeholders."""
    minimum_samples: int | None = Field(None, ge=1)


class Gate(ApiModel):
    """A condition on a candidate: an offline one from MLflow, or an online one from Prometheus."""

    model_config = _choice("mlflow", "prometheus")

    name: Name
    mlflow: MlflowGate | None = None
    prometheus: PrometheusGate | None = None


class FreezeWindow(ApiModel):
    """A time in which no rollout starts and no weight rises."""

    schedule: str = Field(min_length=9, max_length=100)
    """When it begins, as cron writes it: minute, hour, day of month, month, day of week."""
    duration_seconds: Annotated[int, Field(ge=60, le=2_678_400)]
    time_zone: str = Field("Etc/UTC", min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+\-/]+$")
    """An IANA name, such as Europe/Berlin."""


class Rollback(ApiModel):
    """How long the way back is kept short."""

    keep_warm_seconds: Seconds = 900
    """How long the former revision's pods stay after a promotion, so that undo is one write."""
    auto_window_seconds: Seconds = 300
    """How long after a promotion failing online gates roll back by themselves (baking)."""


class Notifications(ApiModel):
    """Who is told of what happens."""

    webhook_secret: Name
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
        ),
    )

    model: ModelSelector
    predictor: PredictorSpec
    route: RouteSpec
    rollout: Rollout = Rollout()
    gates: list[Gate] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    freeze_windows: list[FreezeWindow] = Field(default_factory=list, max_length=32)
    rollback: Rollback = Rollback()
    notifications: Notifications | None = None
    revision_history_limit: int = Field(10, ge=1, le=100)
    """How many former revisions are kept to undo to."""
    suspend: bool = False
    """Nothing changes while it is true, but for aborts and undos."""
    plan_only: bool = False
    """Resolve and judge, say what would be done, and do nothing."""


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
