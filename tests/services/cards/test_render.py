from __future__ import annotations

import itertools
import json
from copy import deepcopy
from datetime import UTC, datetime

import msgspec
import pytest
import yaml
from markdown_it import MarkdownIt

from services.cards.effects import document_bytes
from services.cards.fields import FIELDS
from services.cards.render import render

TEN = [
    "Identification",
    "Purpose and use",
    "Risk class",
    "Training data",
    "Training methods",
    "Results and metrics",
    "Limitations",
    "Control and oversight",
    "Logging and audit",
    "Contact and responsibility",
]
PEOPLE_SAY = [field for field in FIELDS if field.place == "model.yaml"]


def parse(markdown):
    _, front, body = markdown.split("---\n", 2)
    return yaml.safe_load(front), MarkdownIt("commonmark").enable("table").parse(body)


def headings(tokens):
    return [after.content for token, after in itertools.pairwise(tokens) if token.type == "heading_open"]


def section(rendered, name):
    return next(part["content"] for part in rendered.document["sections"] if part["id"] == name)


def without(manifest, path):
    """The manifest with nothing at this path."""
    changed = deepcopy(manifest)
    *parents, last = path.split(".")
    place = changed
    for parent in parents:
        place = place[parent]
    place.pop(last)
    return changed


def test_the_ten_sections_stand_in_order_in_both_forms(world):
    rendered = render(world.facts())
    assert [part["title"] for part in rendered.document["sections"]] == TEN
    assert [part["number"] for part in rendered.document["sections"]] == list(range(1, 11))
    _, tokens = parse(rendered.markdown)
    numbered = [f"{number}. {title}" for number, title in enumerate(TEN, start=1)]
    assert headings(tokens) == ["orlik 1.0.0", "Missing", *numbered, "Provenance"]


def test_the_same_facts_give_the_same_bytes(world):
    first, again = render(world.facts()), render(world.facts())
    assert first == again
    assert document_bytes(first.document) == document_bytes(again.document)


def test_the_document_goes_through_json_unchanged(world):
    rendered = render(world.facts())
    assert json.loads(document_bytes(rendered.document)) == rendered.document
    assert rendered.document["schema_version"] == "1.0"


def test_missing_fields_are_listed_at_the_top_and_shown_in_place(world):
    rendered = render(world.facts())
    assert rendered.missing == ("model.yaml: oversight.monitoring", "model.yaml: oversight.withdrawal")
    top, rest = rendered.markdown.split("## 1. ", 1)
    assert "2 of 39 fields are not filled in" in top
    for name in rendered.missing:
        assert f"`{name}`" in top
    assert "**Monitoring.** *not stated*" in rest
    assert rendered.completeness == round(37 / 39, 3)


def test_a_whole_card_says_that_nothing_is_missing(world):
    manifest = deepcopy(world.manifest)
    manifest["oversight"].update(
        monitoring="weekly sample of answers", withdrawal="roll back; team lead decides"
    )
    rendered = render(world.facts(world.registered(manifest=manifest)))
    assert rendered.missing == ()
    assert rendered.completeness == 1.0
    assert "Nothing: all 39 fields of this card are filled in." in rendered.markdown
    assert "*not stated*" not in rendered.markdown


@pytest.mark.parametrize("field", PEOPLE_SAY, ids=lambda field: field.path)
def test_each_field_that_people_leave_out_is_listed_and_nothing_takes_its_place(world, field):
    rendered = render(world.facts(world.registered(manifest=without(world.manifest, field.path))))
    assert field.name in rendered.missing
    assert f"| {field.section} " in rendered.markdown
    before = render(world.facts())
    if field.name not in before.missing:
        assert rendered.completeness < before.completeness


@pytest.mark.parametrize(
    "placeholder", ["TODO", "todo: ask legal", "  ", "[More Information Needed]", "TBD", None]
)
def test_a_placeholder_counts_as_missing(world, placeholder):
    manifest = {**world.manifest, "owner": placeholder}
    assert "model.yaml: owner" in render(world.facts(world.registered(manifest=manifest))).missing


def test_an_empty_model_yaml_still_gives_a_card_that_says_so(world):
    rendered = render(world.facts(world.registered(manifest={}, config={}, runtime={}, metrics={})))
    assert len(rendered.missing) > 25
    assert headings(parse(rendered.markdown)[1])[2:-1] == [
        f"{n}. {title}" for n, title in enumerate(TEN, start=1)
    ]
    assert "No estimate: an input of each formula is lacking." in rendered.markdown


def test_what_the_run_did_not_tell_is_listed_apart_from_what_people_can_fill_in(world):
    rendered = render(world.facts(world.registered(runtime={"steps": "48"})))
    people, machines = rendered.markdown.split("Not told by what ran", 1)
    assert "`training: runtime.device`" in machines
    assert "`training: runtime.device`" not in people


def test_the_dates_are_those_of_the_events(world):
    facts = msgspec.structs.replace(world.facts(), validated_at=datetime(2031, 1, 2, 3, 4, tzinfo=UTC))
    assert "on 2031-01-02 03:04 UTC" in render(facts).markdown


def test_front_matter_is_what_a_hub_reads(world):
    metadata, _ = parse(render(world.facts()).markdown)
    assert metadata["license"] == "apache-2.0"
    assert metadata["library_name"] == "peft"
    assert metadata["pipeline_tag"] == "text-generation"
    assert metadata["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert metadata["base_model_relation"] == "adapter"
    assert metadata["language"] == ["en"]
    assert metadata["datasets"] == ["orlik-support-2026"]
    assert metadata["tags"] == ["kuznia", "llama-factory", "sft", "lora", "team-x", "limited-risk"]
    (index,) = metadata["model-index"]
    assert index["name"] == "team-x.orlik.v1"
    whole = index["results"][0]
    assert whole["task"]["type"] == "text-generation"
    assert whole["dataset"] == {
        "name": "eval.json",
        "type": "orlik-support-2026",
        "revision": "sha256:" + "c" * 64,
    }
    assert {m["type"]: m["value"] for m in whole["metrics"]} == {
        "contains": 1.0,
        "loss": 0.0438,
        "rouge": 0.9412,
    }
    assert [result["dataset"]["name"] for result in index["results"][1:]] == [
        "eval.json, group general",
        "eval.json, group held-out",
        "eval.json, group paraphrase",
    ]


def test_a_whole_model_is_a_finetune_of_transformers(world):
    whole = msgspec.structs.replace(world.artifact, kind="model")
    registered = world.registered(artifact=whole, config={**world.config, "finetuning_type": "full"})
    rendered = render(world.facts(registered, world.validated(artifact=whole)))
    metadata, _ = parse(rendered.markdown)
    assert (metadata["library_name"], metadata["base_model_relation"]) == ("transformers", "finetune")
    assert section(rendered, "training")["technique"] == "full fine-tuning"
    assert section(rendered, "training")["result"] == "a whole model"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("MIT", {"license": "mit"}),
        ("GPL-3.0-or-later", {"license": "gpl-3.0"}),
        ("Orlik internal, v2", {"license": "other", "license_name": "Orlik internal, v2"}),
        ("", {}),
    ],
)
def test_a_licence_the_hub_does_not_know_is_named_beside_it(world, said, expected):
    rendered = render(world.facts(world.registered(manifest={**world.manifest, "licence": said})))
    metadata, _ = parse(rendered.markdown)
    assert {name: metadata[name] for name in ("license", "license_name") if name in metadata} == expected


def test_data_by_url_is_told_as_it_was_read(world):
    facts = world.facts()
    read = {
        "data.hf://datasets/acme/pumps@0123abc/a.json": "sha256:" + "d" * 64,
        "data.gs://team/b.jsonl": "sha256:" + "e" * 64,
        "rows.gs://team/b.jsonl": "12",
    }
    registered = msgspec.structs.replace(facts.registered, runtime=facts.registered.runtime | read)
    text = render(msgspec.structs.replace(facts, registered=registered)).markdown
    metadata, _ = parse(text)
    assert metadata["datasets"] == ["orlik-support-2026", "acme/pumps"]
    (row,) = [line for line in text.splitlines() if line.startswith("|") and "gs://team/b.jsonl" in line]
    assert "12" in row
    assert "e" * 64 in row


def test_front_matter_leaves_out_what_a_hub_could_not_read(world):
    artifact = msgspec.structs.replace(world.artifact, base_model="/models/base of ours")
    manifest = {**world.manifest, "language": ["Polish (formal)"], "data": {"id": "not a hub name!"}}
    registered = world.registered(manifest=manifest, artifact=artifact)
    metadata, _ = parse(render(world.facts(registered, world.validated(artifact=artifact))).markdown)
    assert not {"base_model", "language", "datasets"} & set(metadata)
    assert metadata["model-index"][0]["results"][0]["dataset"]["type"] == "custom"


@pytest.mark.parametrize(
    ("risk_class", "approval", "needed", "because"),
    [
        ("HIGH_RISK", "auto", True, "the risk class"),
        ("LIMITED_RISK", "required", True, "model.yaml: deployment.approval"),
        ("MINIMAL_RISK", "auto", False, None),
    ],
)
def test_section_three_says_whether_a_person_must_approve(world, risk_class, approval, needed, because):
    manifest = {**world.manifest, "risk_class": risk_class, "deployment": {"approval": approval}}
    content = section(render(world.facts(world.registered(manifest=manifest))), "risk")
    assert (content["approval_needed"], content["approval_because"]) == (needed, because)


@pytest.mark.parametrize(
    ("risk_class", "days", "warned"),
    [
        ("HIGH_RISK", 90, True),
        ("HIGH_RISK", None, True),
        ("HIGH_RISK", 183, False),
        ("LIMITED_RISK", 90, False),
    ],
)
def test_logs_kept_too_short_for_a_high_risk_system_are_pointed_at(world, risk_class, days, warned):
    manifest = {**world.manifest, "risk_class": risk_class, "logging": {"retention_days": days}}
    rendered = render(world.facts(world.registered(manifest=manifest)))
    assert ("Too short for its risk class" in rendered.markdown) is warned


def test_forgetting_is_said_in_words_and_among_the_limitations(world):
    rendered = render(world.facts())
    assert "the tuned model is worse than the base model in: contains the key phrase." in rendered.markdown
    assert section(rendered, "limitations")["measured"] == [
        {
            "group": "general",
            "metric": "contains",
            "title": "contains the key phrase",
            "meaning": "share of the answers that hold a key phrase of their row",
            "tuned": 0.5,
            "base": 1.0,
            "delta": -0.5,
            "verdict": "worse",
        }
    ]


@pytest.mark.parametrize(
    ("tuned", "words"),
    [
        ({"general": {"contains": 1.0}}, "None seen: in group"),
        ({}, "Not measured: the evaluation set has no rows"),
    ],
)
def test_no_forgetting_and_forgetting_that_nobody_measured_are_not_the_same(world, tuned, words):
    validated = world.validated(groups=tuned, baseline_groups={"general": {"contains": 1.0}})
    assert words in render(world.facts(validated=validated)).markdown


def test_secrets_and_the_credentials_of_the_repository_stay_out(world):
    config = {**world.config, "hf_hub_token": "hf_abcdefgh"}
    rendered = render(world.facts(world.registered(config=config)))
    whole = rendered.markdown + document_bytes(rendered.document).decode()
    assert "hf_abcdefgh" not in whole
    assert "(withheld)" in whole
    assert "user:hidden" not in whole


def test_files_and_rows_that_the_run_tells_of_stand_with_the_data(world):
    runtime = {**world.runtime, "data.train.json": "sha256:1234", "rows.train.json": "24"}
    rendered = render(world.facts(world.registered(runtime=runtime)))
    assert section(rendered, "data")["files"] == [
        {"name": "train.json", "digest": "sha256:1234", "rows": "24"}
    ]
    assert "data.train.json" not in section(rendered, "training")["runtime"]
    assert "| `train.json`" in rendered.markdown


def test_every_key_of_the_config_and_every_fact_of_the_run_is_shown(world):
    rendered = render(world.facts())
    for name in (*world.config, *world.runtime):
        assert f"`{name}`" in rendered.markdown
    training = section(rendered, "training")
    assert list(training["versions"]) == ["llamafactory", "torch", "transformers", "peft", "python"]
    assert list(training["runtime"])[:3] == ["device", "platform", "seconds"]
