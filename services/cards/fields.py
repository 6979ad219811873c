"""What a complete card says, as data: completeness is the share of these fields that are filled.

place: where the field is said. `model.yaml` is for a person to fill in; `config.yaml` as well, by setting the
key; `training` and `validation` are told by what ran.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from services.cards.facts import Facts


class Field(msgspec.Struct, frozen=True):
    """section: 1 to 10. path: dotted, in its place. asks: what it should say, for whoever fills it in."""

    section: int
    place: str
    path: str
    asks: str

    @property
    def name(self) -> str:
        """How the card, its event and the registry call it: `model.yaml: oversight.monitoring`."""
        return f"{self.place}: {self.path}"

    @property
    def human(self) -> bool:
        """Whether a person fills it in, by an edit and a push."""
        return self.place.endswith(".yaml")


FIELDS: tuple[Field, ...] = (
    Field(1, "model.yaml", "name", "what the model is called"),
    Field(1, "model.yaml", "owner", "the person or role that owns the model"),
    Field(1, "model.yaml", "licence", "the licence of the weights, as an SPDX identifier"),
    Field(1, "model.yaml", "language", "the languages it was made for"),
    Field(1, "training", "commit", "the commit it was made from"),
    Field(1, "training", "manifest_digest", "the digest of the weights"),
    Field(2, "model.yaml", "purpose.summary", "what it is for"),
    Field(2, "model.yaml", "purpose.users", "who is meant to use it"),
    Field(2, "model.yaml", "purpose.not_for", "what it must not be used for"),
    Field(3, "model.yaml", "risk_class", "the class of the system it serves"),
    Field(3, "model.yaml", "risk_analysis", "a link to the analysis behind the class"),
    Field(3, "model.yaml", "ai_act_notes", "a reference to the decision, or to the conformity procedure"),
    Field(4, "model.yaml", "data.id", "under which name the data set is known"),
    Field(4, "model.yaml", "data.description", "what its rows are"),
    Field(4, "model.yaml", "data.sources", "where its rows come from"),
    Field(4, "model.yaml", "data.licence", "the licence or legal basis of the data"),
    Field(4, "model.yaml", "data.preprocessing", "what was done to the rows before training"),
    Field(4, "model.yaml", "data.biases", "which biases are known or possible"),
    Field(4, "config.yaml", "dataset", "the data sets it was trained on"),
    Field(5, "training", "base_model", "the base model"),
    Field(5, "training", "base_digest", "the digest of the base model's files"),
    Field(5, "config.yaml", "finetuning_type", "the technique: full, freeze, lora"),
    Field(5, "config.yaml", "seed", "the seed, so that the run can be repeated"),
    Field(5, "training", "runtime.device", "the machine it ran on"),
    Field(5, "training", "runtime.seconds", "how long it ran"),
    Field(5, "training", "runtime.llamafactory", "the version of the trainer"),
    Field(6, "validation", "set_digest", "the digest of the evaluation set"),
    Field(6, "validation", "rows", "how many rows were asked"),
    Field(6, "validation", "metrics", "what the tuned model reached"),
    Field(6, "validation", "baseline", "what the base model reached on the same rows"),
    Field(6, "validation", "gates", "which thresholds were set"),
    Field(7, "model.yaml", "limitations", "known problems, and where an answer may be wrong or dangerous"),
    Field(8, "model.yaml", "oversight.monitoring", "how it is watched while in use"),
    Field(8, "model.yaml", "oversight.withdrawal", "when and how it is taken back"),
    Field(8, "model.yaml", "oversight.overseers", "who watches it and may stop it (roles)"),
    Field(9, "model.yaml", "logging.retention_days", "for how many days the logs are kept"),
    Field(9, "model.yaml", "logging.access", "who may read the logs"),
    Field(10, "model.yaml", "contact.incidents", "where an incident is reported"),
    Field(10, "model.yaml", "contact.responsible", "who answers for the model"),
)


def missing(facts: Facts) -> Sequence[Field]:
    """The fields that nobody filled in, in the order of the sections."""
    return [field for field in FIELDS if facts.said(field.path, field.place) is None]


def completeness(absent: Sequence[Field]) -> float:
    """The share of the fields that are filled, 0 to 1, three decimals."""
    return round(1 - len(absent) / len(FIELDS), 3)
