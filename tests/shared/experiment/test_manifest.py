"""model.yaml: every fault with an example of what to write, and what the risk class asks for."""

from __future__ import annotations

import re

import pytest

from shared.experiment.check import check
from shared.experiment.document import read_yaml
from shared.experiment.faults import shown
from shared.experiment.manifest import Manifest
from shared.experiment.manifest_faults import check_manifest


def spoken(folder) -> str:
    return "\n".join(str(fault) for fault in check(folder).faults)


def test_an_empty_manifest_names_every_missing_line_with_an_example():
    _, faults = check_manifest(read_yaml("model.yaml", "{}"))
    assert {fault.where for fault in faults} == {
        f"model.yaml {key}"
        for key in ("name", "tenant", "owner", "version", "risk_class", "purpose", "data", "evaluation")
    }
    assert all(fault.what == "is missing" and fault.mend.startswith("add `") for fault in faults)


def test_every_required_field_has_an_example():
    def required(model, path=()):
        for name, field in model.model_fields.items():
            if field.is_required():
                yield (*path, name), field.examples
                inner = field.annotation if isinstance(field.annotation, type) else None
                if inner and hasattr(inner, "model_fields"):
                    yield from required(inner, (*path, name))

    for path, examples in required(Manifest):
        assert examples, path
        assert examples[0].startswith(f"{path[-1]}: "), path


def judged(**judge: object) -> dict[str, object]:
    return {"strategy": "canary", "canary": {"judge": {"metric": "contains", **judge}}}


BAD = [
    (
        {"name": "LLM_QA"},
        r"model.yaml:\d+ name: is `LLM_QA`; write a DNS label: at most 40 .* such as `name: llm-qa`",
    ),
    ({"tenant": "-x"}, "tenant: is `-x`; write a DNS label"),
    ({"name": "a" * 41}, "name: is `a+`; write a DNS label"),
    ({"owner": ""}, "owner: is empty; such as `owner: Support Engineering`"),
    ({"owner": 3}, "owner: should be a text; put it in quotes"),
    ({"owner": "TODO"}, "owner: is still `TODO`; such as"),
    ({"version": 1.0}, r"version: is `1\.0`, which YAML reads as a number; such as `version: 1\.0\.0`"),
    (
        {"version": "1.0"},
        "version: is `1.0`; write a semantic version such as `version: 1.0.0`, or `version: commit`",
    ),
    ({"version": "latest"}, "version: is `latest`"),
    (
        {"risk_class": "PROHIBITED"},
        r"risk_class: is PROHIBITED: such a system may not be put into use \(Regulation",
    ),
    ({"risk_class": "high_risk"}, "risk_class: is `high_risk`; write .* did you mean HIGH_RISK"),
    ({"tenat": "x"}, r"tenat: is no key of model.yaml; did you mean `tenant`\?"),
    ({"learning_rate": 1}, "learning_rate: is no key of model.yaml; it belongs into config.yaml"),
    ({"qqq": 1}, "qqq: is no key of model.yaml; remove it"),
    ({"purpose.not_for": []}, r"purpose.not_for: is empty; such as `not_for: \[medical advice"),
    ({"purpose.users": None}, r"model.yaml:\d+ purpose.users: is missing; add `users: our support staff"),
    ({"purpose.sumary": "x"}, "purpose.sumary: is no key of model.yaml; did you mean `summary`"),
    ({"purpose": "all"}, "purpose: should be a mapping"),
    ({"data.id": None}, "data.id: is missing; add `id: "),
    ({"limitations": "many"}, "limitations: should be a list; such as"),
    ({"evaluation.thresholds": {}}, "evaluation.thresholds: is empty"),
    (
        {"evaluation.thresholds": {"bleu": {"min": 1}}},
        "evaluation.thresholds.bleu: is `bleu`; write 'exact_match'",
    ),
    ({"evaluation.thresholds": {"contains": {}}}, "evaluation.thresholds.contains: says neither min nor max"),
    ({"evaluation.thresholds": {"loss": {"min": 2, "max": 1}}}, "thresholds.loss: has a min above its max"),
    ({"evaluation.thresholds": {"contains": {"min": 80}}}, "is 80, but contains lies between 0 and 1"),
    ({"evaluation.metrics": ["rouge_l"]}, "evaluation.metrics: leaves out contains, which is judged by"),
    ({"evaluation.metrics": ["rouge"]}, r"evaluation.metrics.0: is `rouge`; write .* did you mean rouge_l"),
    ({"evaluation.max_new_tokens": 0}, "evaluation.max_new_tokens: is `0`: input should be greater"),
    ({"evaluation.max_new_tokens": "64"}, "evaluation.max_new_tokens: should be a whole number"),
    ({"evaluation.set": None}, "evaluation.set: is missing; add `set: eval.json`"),
    ({"resources": {"spot": "maybe"}}, "resources.spot: should be true or false"),
    ({"resources": {"gpus": 1.5, "gpu": "nvidia-l4"}}, "resources.gpus: should be a whole number"),
    ({"resources": {"nodes": 0}}, "resources.nodes: is `0`: input should be greater than or equal to 1"),
    ({"deployment": {"engine": "vlm"}}, "deployment.engine: is `vlm`; write .* did you mean vllm"),
    (
        {"deployment": {"autoscaling": {"min_replicas": 3, "max_replicas": 2}}},
        "deployment.autoscaling: has a min_replicas above its max_replicas",
    ),
    (
        {"deployment": {"autoscaling": {"requests_waiting": 4}}},
        "deployment.autoscaling.requests_waiting: is a measure of vLLM's, and engine is llamafactory",
    ),
    (
        {"deployment": {"strategy": "canari"}},
        "deployment.strategy: is `canari`; write .* did you mean canary",
    ),
    (
        {"deployment": {"strategy": "canary", "canary": {"steps": [{"weight": 0.5}, {"weight": 0.2}]}}},
        "canary.steps.1.weight: is 0.2, and the step before it gives 0.5 already; write weights that rise",
    ),
    (
        {"deployment": {"strategy": "canary", "canary": {"steps": [{"weight": 0.5, "minuts": 5}]}}},
        "canary.steps.0.minuts: is no key of model.yaml; did you mean `minutes`",
    ),
    (
        {"deployment": {"strategy": "canary", "canary": {"steps": [{"weight": 5}]}}},
        "canary.steps.0.weight: is `5`: input should be less than 1; such as `weight: 0.05`",
    ),
    (
        {"deployment": {"strategy": "canary", "canary": {"patience_minutes": 1}}},
        "canary.patience_minutes: is 1, and a step lasts 5 minutes by itself; write 5 or more",
    ),
    (
        {"deployment": {"canary": {}}},
        "deployment.canary: is read with strategy canary only, and this one is replace; write `strategy: canary`",
    ),
    (
        {"deployment": {"keep_minutes": 5}},
        "deployment.keep_minutes: is read with strategies blue-green and canary only",
    ),
    (
        {"deployment": judged(metric="loss", by="platform")},
        "judge.metric: is loss, which is measured on weights, and no engine tells it; write one of exact_match",
    ),
    (
        {"deployment": judged(metric="contain", by="platform")},
        r"judge.metric: is contain, which no evaluation measures; did you mean `contains`\?",
    ),
    (
        {"deployment": judged(metric="helpfulness", by="platform")},
        "judge.metric: is helpfulness, .* write one of exact_match, contains, rouge_l, or `by: events`",
    ),
    ({"deployment": judged(samples=0)}, "judge.samples: is `0`: input should be greater than or equal to 1"),
    ({"deployment": judged(by="people")}, "judge.by: is `people`; write 'platform' or 'events'"),
    ({"deployment": judged(metric=None)}, "judge.metric: .*such as `metric: contains`"),
    (
        {"deployment": {"cold_start_seconds": 5}},
        "deployment.cold_start_seconds: is read with scale_to_zero_minutes only",
    ),
    ({"deployment": {"approval": "never"}}, "deployment.approval: is `never`; write 'auto' or 'required'"),
    (
        {"risk_class": "HIGH_RISK"},
        "risk_analysis: is missing, and HIGH_RISK needs it; add `risk_analysis: <link",
    ),
    ({"owner": "${oc.env:USER}"}, r"model.yaml:\d+ owner: holds `\$\{…\}`"),
]


@pytest.mark.parametrize(("change", "said"), BAD, ids=[str(change)[:60] for change, _ in BAD])
def test_bad_manifest(make, change, said):
    assert re.search(said, spoken(make(manifest=change)))


def test_high_risk_forces_a_person_and_long_logs(make):
    high = {
        "risk_class": "HIGH_RISK",
        "risk_analysis": "https://risk.example/1",
        "deployment": {"approval": "auto"},
    }
    checked = check(make(manifest=high))
    assert checked.faults == ()
    assert checked.manifest["deployment"]["approval"] == "required"
    assert [fault.what for fault in checked.warnings] == [
        "is auto, which HIGH_RISK overrides: a person must approve each version"
    ]
    short = spoken(make(manifest=high | {"logging": {"retention_days": 30}}))
    assert "logging.retention_days: is 30 days, and HIGH_RISK keeps logs for six months at least" in short
    assert spoken(make(manifest={"logging": {"retention_days": 30}})) == ""


@pytest.mark.parametrize("version", ["1.0.0", "10.2.33", "1.0.0-rc.1", "commit"])
def test_versions(make, version):
    assert check(make(manifest={"version": version})).manifest["version"] == version


def test_metrics_default_to_those_that_judge(make):
    evaluation = {"evaluation.thresholds": {"loss": {"max": 2}}, "evaluation.baseline": {"metric": "rouge_l"}}
    filled = check(make(manifest=evaluation)).manifest["evaluation"]
    assert filled["metrics"] == ["loss", "rouge_l"]
    assert filled["thresholds"] == {"loss": {"max": 2.0}}
    assert filled["baseline"] == {"metric": "rouge_l", "min_gain": 0.0}


@pytest.mark.parametrize(
    ("judge", "by"),
    [
        ({}, "platform"),
        ({"metric": "rouge_l"}, "platform"),
        ({"by": "events"}, "events"),
        ({"metric": "helpfulness"}, "events"),
        ({"metric": "loss"}, "events"),
    ],
)
def test_the_platform_judges_a_canary_where_the_metric_is_its_own(make, judge, by):
    checked = check(make(manifest={"deployment": judged(**judge)}))
    assert (checked.faults, checked.warnings) == ((), ())
    assert checked.manifest["deployment"]["canary"]["judge"]["by"] == by


@pytest.mark.parametrize(
    ("judge", "warned"),
    [
        ({"samples": 5}, True),
        ({"samples": 5, "max_drop": 0.2}, False),
        ({"samples": 5, "max_drop": 0.0}, False),
        ({"samples": 5, "by": "events"}, False),
        ({}, False),
    ],
)
def test_a_sample_that_one_answer_decides_is_warned_of(make, judge, warned):
    checked = check(make(manifest={"deployment": judged(**judge)}))
    assert checked.faults == ()
    assert [fault.mend for fault in checked.warnings] == (
        ["write `samples: 20` or more, or a greater max_drop"] if warned else []
    )
    assert all(
        "for one wrong answer of 5: that is 0.2 of the mean" in fault.what for fault in checked.warnings
    )


def test_a_gpu_kind_counts_as_one_gpu(make):
    assert check(make(manifest={"resources": {"gpu": "nvidia-l4"}})).manifest["resources"]["gpus"] == 1


def test_shown_cuts_and_escapes():
    assert shown("a" * 100) == "a" * 59 + "…"
    assert shown("\t\x1b") == r"\t\x1b"
    assert shown(None) == "None"
