"""Settings of the Kubernetes cluster: every fault at once."""

from __future__ import annotations

import pytest

from shared.kubernetes.settings import KubernetesSettings, from_environment
from shared.settings import SettingsError

IMAGES = {
    "KUZNIA_K8S_TRAINER_IMAGE": "registry.example.com/trainer:1",
    "KUZNIA_K8S_ENGINE_IMAGE": "engine@sha256:00",
}


def test_two_images_are_enough():
    settings = from_environment(IMAGES)
    assert settings == KubernetesSettings(
        trainer_image="registry.example.com/trainer:1", engine_image="engine@sha256:00"
    )
    assert settings.namespace_of("acme", "job") == "acme"
    assert settings.namespace_of("acme", "server") == "acme-api"


def test_pods_get_what_is_not_of_this_machine():
    told = {
        "KUZNIA_PROFILE": "gcp",
        "GOOGLE_CLOUD_PROJECT": "p",
        "KUZNIA_HOME": "/home/x",
        "KUZNIA_K8S_SPOT": "1",
        "KUZNIA_CLUSTER": "kubernetes",
        "PATH": "/bin",
        "KUZNIA_TOKEN": "of a person's shell",
        "KUZNIA_SECRET_X": "x",
        "KUZNIA_FORGE_PASSWORD": "x",
    }
    settings = from_environment({**IMAGES, **told})
    assert settings.environment == {"KUZNIA_PROFILE": "gcp", "GOOGLE_CLOUD_PROJECT": "p"}
    assert settings.spot


def test_every_fault_is_told():
    wrong = {
        "KUZNIA_K8S_SPOT": "perhaps",
        "KUZNIA_K8S_PORT": "http",
        "KUZNIA_K8S_WATCH_SECONDS": "nan",
        "KUZNIA_K8S_NAMESPACE": "{tenant}/jobs",
        "KUZNIA_K8S_TRAINER_IMAGE": "not an image",
        "KUZNIA_K8S_ORCHESTRATOR": "cron",
        "KUZNIA_K8S_RELEASES": "gitops",
        "KUZNIA_K8S_MOON": "full",
        "KUZNIA_K8S_TTL_SECONDS": "60",
    }
    with pytest.raises(SettingsError) as caught:
        from_environment(wrong)
    lines = str(caught.value).splitlines()
    for variable in (*wrong, "KUZNIA_K8S_CHART", "KUZNIA_K8S_GITOPS_REPOSITORY"):
        assert (
            any(line.startswith(f"{variable} is ") for line in lines) or variable == "KUZNIA_K8S_RELEASES"
        ), variable
    assert "KUZNIA_K8S_ORCHESTRATOR is 'cron'; it should be job or argo" in lines
