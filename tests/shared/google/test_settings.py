"""The profile's settings: all faults at once, each with what should be there."""

from __future__ import annotations

import pytest

from shared.google.settings import GoogleSettings, from_environment
from shared.settings import SettingsError

EMULATED = {"PUBSUB_EMULATOR_HOST": "127.0.0.1:1", "FIRESTORE_EMULATOR_HOST": "127.0.0.1:2"}


def test_a_project_is_enough():
    assert from_environment({"GOOGLE_CLOUD_PROJECT": "acme"}) == GoogleSettings(project="acme")


def test_on_emulators_topics_are_made_and_a_project_is_there():
    found = from_environment(EMULATED)
    assert (found.project, found.create) == ("kuznia-local", True)


def test_all_of_it():
    found = from_environment(
        {
            "GOOGLE_CLOUD_PROJECT": "acme",
            "KUZNIA_FIRESTORE_DATABASE": "kuznia",
            "KUZNIA_ARTIFACTS": "gs://acme-kuznia",
            "KUZNIA_GCP_CREATE": "yes",
            "KUZNIA_PUSH_ENDPOINT": "https://push.example.com/",
            "KUZNIA_PUSH_ACCOUNT": "push@acme.iam.gserviceaccount.com",
            "KUZNIA_PUSH_AUDIENCE": "kuznia",
        }
    )
    assert found == GoogleSettings(
        project="acme",
        database="kuznia",
        artifacts="gs://acme-kuznia",
        create=True,
        push="https://push.example.com",
        push_account="push@acme.iam.gserviceaccount.com",
        push_audience="kuznia",
    )


def test_every_fault_is_told_at_once():
    with pytest.raises(SettingsError) as caught:
        from_environment({"KUZNIA_GCP_CREATE": "maybe", "KUZNIA_PUSH_ENDPOINT": "push"})
    told = str(caught.value).splitlines()
    assert [line.split(" ")[0] for line in told] == [
        "GOOGLE_CLOUD_PROJECT",
        "KUZNIA_GCP_CREATE",
        "KUZNIA_PUSH_ENDPOINT",
    ]


@pytest.mark.parametrize("alone", ["KUZNIA_PUSH_ACCOUNT", "KUZNIA_PUSH_AUDIENCE"])
def test_who_pushes_is_said_whole_or_not_at_all(alone: str):
    with pytest.raises(SettingsError, match="belong together"):
        from_environment({"GOOGLE_CLOUD_PROJECT": "p", alone: "x"})


def test_one_emulator_alone_is_a_fault():
    with pytest.raises(SettingsError, match="FIRESTORE_EMULATOR_HOST is not; set both, or neither"):
        from_environment({"GOOGLE_CLOUD_PROJECT": "p", "PUBSUB_EMULATOR_HOST": "127.0.0.1:1"})
