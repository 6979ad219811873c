"""`model.yaml`: what LLaMA-Factory does not know of a model. The schema, with an example of every line.

Required is what the chain cannot go on without; what only a person can say and is missing is listed by the card.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

LABEL = r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$"
VERSION = r"^(commit|(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})(-[0-9A-Za-z.-]{1,40})?)$"

Label = Annotated[str, StringConstraints(pattern=LABEL)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8000)]
Optional = Annotated[str, StringConstraints(strip_whitespace=True, max_length=8000)]
Metric = Literal["exact_match", "contains", "rouge_l", "loss"]


class Part(BaseModel):
    """No key that is not here, no silent conversion."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Purpose(Part):
    """Card sections 2 and 7: what it is for, for whom, and what it is not for."""

    summary: Text = Field(examples=["summary: Answers customers' questions about our pumps"])
    users: Text = Field(examples=["users: our support staff, who check every answer"])
    not_for: list[Text] = Field(min_length=1, examples=["not_for: [medical advice, decisions about persons]"])


class Data(Part):
    """Card section 4. id: under which the data set is known; sources: where its rows come from."""

    id: Text = Field(examples=["id: support-questions-2026"])
    description: Optional = ""
    sources: list[Text] = Field(default=[], examples=["sources: [written by our support team]"])
    licence: Optional = ""
    preprocessing: Optional = ""
    biases: Optional = ""


class Oversight(Part):
    """Card section 8: how it is watched, how it is taken back, who does it (roles)."""

    monitoring: Optional = ""
    withdrawal: Optional = ""
    overseers: list[Text] = Field(default=[], examples=["overseers: [support team lead]"])


class Logging(Part):
    """Card section 9: for how many days the gateway's logs are kept, and who may read them."""

    retention_days: int | None = Field(default=None, ge=1, le=3660, examples=["retention_days: 200"])
    access: Optional = ""


class Contact(Part):
    """Card section 10: where incidents are reported, and who answers for the model."""

    incidents: Optional = ""
    responsible: Optional = ""


class Bound(Part):
    """The value that a metric must reach (`min`), or must not exceed (`max`)."""

    min: float | None = Field(default=None, allow_inf_nan=False, examples=["min: 0.8"])
    max: float | None = Field(default=None, allow_inf_nan=False, examples=["max: 1.5"])

    @model_validator(mode="after")
    def _says_something(self) -> Bound:
        if self.min is None and self.max is None:
            raise ValueError("says neither min nor max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("has a min above its max")
        return self


class Baseline(Part):
    """By how much the tuned model must do better than the base model on the same rows."""

    metric: Metric = Field(examples=["metric: contains"])
    min_gain: float = Field(default=0.0, allow_inf_nan=False, examples=["min_gain: 0.2"])


class Evaluation(Part):
    """set: a .json or .jsonl file of this folder, or its URL; rows of instruction, input, output, expect, group.

    sha256: of the file under a URL; another one is not asked.

    metrics: empty takes those that the thresholds and the baseline name. report_only: groups of rows that are
    measured and shown, but not judged.
    """

    set: Text = Field(examples=["set: eval.json"])
    sha256: Optional = Field(default="", examples=["sha256: (the 64 digits that `sha256sum` prints)"])
    metrics: list[Metric] = Field(default=[], examples=["metrics: [contains, rouge_l]"])
    thresholds: dict[Metric, Bound] = Field(min_length=1, examples=["thresholds: {contains: {min: 0.8}}"])
    baseline: Baseline | None = Field(default=None, examples=["baseline: {metric: contains, min_gain: 0.2}"])
    max_new_tokens: int = Field(default=64, ge=1, le=4096, examples=["max_new_tokens: 64"])
    report_only: list[Text] = Field(default=[], examples=["report_only: [general]"])


class Resources(Part):
    """What training may use. gpu: `none`, or a kind of `shared.experiment.memory.GPUS`; gpus: on each node.

    memory_gb: main memory of a node; disk_gb: what it may write there; hours: after which a job is ended;
    budget_hours: GPU hours of the run over all its attempts (plain hours, where it has no GPU), after which it is
    stopped with its state saved; each unlimited where absent. priority: among runs that wait.
    """

    gpu: Text = Field(default="none", examples=["gpu: nvidia-l4"])
    gpus: int | None = Field(default=None, ge=0, le=64, examples=["gpus: 1"])
    nodes: int = Field(default=1, ge=1, le=256, examples=["nodes: 1"])
    spot: bool = Field(default=False, examples=["spot: true"])
    memory_gb: float | None = Field(
        default=None, gt=0, le=100_000, allow_inf_nan=False, examples=["memory_gb: 16"]
    )
    disk_gb: float | None = Field(
        default=None, gt=0, le=100_000, allow_inf_nan=False, examples=["disk_gb: 100"]
    )
    hours: float | None = Field(default=None, gt=0, le=8760, allow_inf_nan=False, examples=["hours: 2"])
    budget_hours: float | None = Field(
        default=None, gt=0, le=1_000_000, allow_inf_nan=False, examples=["budget_hours: 8"]
    )
    priority: Literal["low", "normal", "high"] = Field(default="normal", examples=["priority: low"])


class Step(Part):
    """weight: share of the requests; minutes: at least so long; requests: and until the canary had so many."""

    weight: float = Field(gt=0, lt=1, allow_inf_nan=False, examples=["weight: 0.05"])
    minutes: float = Field(default=5, ge=0.1, le=10_080, allow_inf_nan=False, examples=["minutes: 5"])
    requests: int = Field(default=50, ge=1, le=1_000_000, examples=["requests: 50"])


class Judge(Part):
    """How answers are judged. max_drop: of the mean, against the live version. samples: of each version.

    by `platform`: at each step so many questions of the evaluation set are asked of both engines; `events`:
    `answers-judged` events tell, of people or of another system. Platform, where the metric is one of its own.
    """

    metric: Text = Field(examples=["metric: contains"])
    max_drop: float = Field(default=0.05, ge=0, allow_inf_nan=False, examples=["max_drop: 0.05"])
    samples: int = Field(default=20, ge=1, le=1_000_000, examples=["samples: 20"])
    by: Literal["platform", "events"] | None = Field(default=None, examples=["by: platform"])


class Canary(Part):
    """How a canary is judged, against the live version in the same minutes.

    max_more_errors: share of requests, above the live version's. The ratios: of the 95th percentiles of the
    time to the first byte, and to the last. patience_minutes: so long a step waits for its requests; then
    without_traffic says whether it goes on.
    """

    steps: list[Step] = Field(
        default=[Step(weight=0.05), Step(weight=0.25), Step(weight=0.5)],
        min_length=1,
        max_length=20,
        examples=["steps: [{weight: 0.05, minutes: 5, requests: 50}, {weight: 0.5}]"],
    )
    max_more_errors: float = Field(
        default=0.02, ge=0, le=1, allow_inf_nan=False, examples=["max_more_errors: 0.02"]
    )
    max_ttft_ratio: float = Field(
        default=1.5, ge=1, le=100, allow_inf_nan=False, examples=["max_ttft_ratio: 1.5"]
    )
    max_latency_ratio: float = Field(
        default=1.5, ge=1, le=100, allow_inf_nan=False, examples=["max_latency_ratio: 1.5"]
    )
    judge: Judge | None = Field(default=None, examples=["judge: {metric: contains, max_drop: 0.05}"])
    patience_minutes: float = Field(
        default=60, gt=0, le=100_000, allow_inf_nan=False, examples=["patience_minutes: 60"]
    )
    without_traffic: Literal["hold", "promote"] = Field(default="hold", examples=["without_traffic: promote"])


class Autoscaling(Part):
    """Where the cluster can add engines: it holds each of these averages where it should be, with as many as need be.

    cpu_percent: of what an engine asks for. requests_waiting, kv_cache_usage (0 to 1): of vLLM, which alone tells.
    """

    min_replicas: int = Field(default=1, ge=1, le=1000, examples=["min_replicas: 1"])
    max_replicas: int = Field(default=5, ge=1, le=1000, examples=["max_replicas: 5"])
    cpu_percent: int | None = Field(default=None, ge=1, le=100, examples=["cpu_percent: 70"])
    requests_waiting: int | None = Field(default=None, ge=1, le=10_000, examples=["requests_waiting: 4"])
    kv_cache_usage: float | None = Field(
        default=None, gt=0, le=1, allow_inf_nan=False, examples=["kv_cache_usage: 0.8"]
    )

    @model_validator(mode="after")
    def _leaves_room(self) -> Autoscaling:
        if self.min_replicas > self.max_replicas:
            raise ValueError("has a min_replicas above its max_replicas")
        return self


class Deployment(Part):
    """approval `required`: a person lets each version out. HIGH_RISK forces it.

    replicas, autoscaling: how many engines a cluster runs of it; on one machine it is always one.
    strategy: how a version takes over. keep_minutes: so long the replaced engine stands by for a way back
    (10 where the strategy is not replace). scale_to_zero_minutes: an engine that nobody asked for so long is
    stopped, 0 for never; cold_start_seconds: so long a request waits for it to come back.
    """

    engine: Literal["llamafactory", "vllm"] = Field(default="llamafactory", examples=["engine: vllm"])
    replicas: int = Field(default=1, ge=1, le=1000, examples=["replicas: 2"])
    autoscaling: Autoscaling | None = Field(default=None, examples=["autoscaling: {max_replicas: 5}"])
    approval: Literal["auto", "required"] = Field(default="auto", examples=["approval: required"])
    strategy: Literal["replace", "blue-green", "canary"] = Field(
        default="replace", examples=["strategy: canary"]
    )
    keep_minutes: float | None = Field(
        default=None, ge=0, le=10_080, allow_inf_nan=False, examples=["keep_minutes: 10"]
    )
    canary: Canary | None = Field(default=None, examples=["canary: {steps: [{weight: 0.05, minutes: 5}]}"])
    scale_to_zero_minutes: float = Field(
        default=0, ge=0, le=100_000, allow_inf_nan=False, examples=["scale_to_zero_minutes: 30"]
    )
    cold_start_seconds: float = Field(
        default=60, ge=0, le=3600, allow_inf_nan=False, examples=["cold_start_seconds: 60"]
    )


class Manifest(Part):
    """The whole of `model.yaml`. risk_analysis: link to the analysis behind the class."""

    name: Label = Field(examples=["name: llm-qa"])
    tenant: Label = Field(examples=["tenant: team-x"])
    owner: Text = Field(examples=["owner: Support Engineering"])
    version: str = Field(pattern=VERSION, examples=["version: 1.0.0"])
    risk_class: Literal["HIGH_RISK", "GENERAL_PURPOSE", "LIMITED_RISK", "MINIMAL_RISK"] = Field(
        examples=["risk_class: LIMITED_RISK"]
    )
    risk_analysis: Optional = Field(default="", examples=["risk_analysis: https://risk.example/llm-qa"])
    ai_act_notes: Optional = ""
    purpose: Purpose = Field(examples=["purpose: {summary: …, users: …, not_for: […]}"])
    data: Data = Field(examples=["data: {id: support-questions-2026}"])
    limitations: list[Text] = Field(default=[], examples=["limitations: [answers in English only]"])
    oversight: Oversight = Oversight()
    logging: Logging = Logging()
    contact: Contact = Contact()
    licence: Optional = ""
    language: list[Text] = Field(default=[], examples=["language: [en]"])
    evaluation: Evaluation = Field(
        examples=["evaluation: {set: eval.json, thresholds: {contains: {min: 0.8}}}"]
    )
    resources: Resources = Resources()
    deployment: Deployment = Deployment()
