"""Which parts an installation stands on, and which services a process runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.discovery import discover
from services.worker import main
from shared import profiles
from shared.kubernetes.cluster import KubernetesCluster
from shared.kubernetes.fake.service import FakeService
from shared.settings import Settings, SettingsError


def test_the_profile():
    assert profiles.profile({}) == "local"
    assert profiles.profile({"KUZNIA_PROFILE": "gcp"}) == "gcp"
    with pytest.raises(SettingsError, match="KUZNIA_PROFILE is 'moon'; it should be local or gcp"):
        profiles.profile({"KUZNIA_PROFILE": "moon"})


def test_the_services_of_a_process():
    known = discover()
    assert profiles.chosen(known, {}) == known
    assert profiles.chosen(known, {"KUZNIA_SERVICES": "none"}) == {}
    assert list(profiles.chosen(known, {"KUZNIA_SERVICES": "training, cards"})) == ["training", "cards"]
    with pytest.raises(SettingsError, match="KUZNIA_SERVICES names moon; there are cards, "):
        profiles.chosen(known, {"KUZNIA_SERVICES": "moon,cards"})


def test_the_local_profile_opens_what_lies_in_its_home(tmp_path: Path):
    settings = Settings(home=tmp_path, cache=tmp_path)
    assert not profiles.installed(settings)
    opened = profiles.open_ports(settings)
    assert profiles.installed(settings)
    cluster = profiles.open_cluster(settings, opened)
    ports = profiles.ports_of(settings, opened, cluster)
    assert (ports.store, ports.cluster) == (opened.store, cluster)
    host = profiles.open_host({}, ports, opened)
    host.start()
    host.close()
    opened.close()


def test_nobody_pushes_to_the_local_profile():
    with pytest.raises(SettingsError, match="events are pushed in the profile gcp only"):
        profiles.open_door({})


@pytest.mark.parametrize("words", [[], ["pull"], ["dance", "training"], ["pull", "moon"]])
def test_a_worker_that_is_called_wrongly_says_how(words: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(words, {}) == 2
    assert "usage: python -m services.worker (pull | push | reconcile | subscribe)" in capsys.readouterr().err


def test_every_service_can_be_served_alone():
    folder = Path(__file__).parents[2] / "services"
    for name in discover():
        source = (folder / name / "main.py").read_text()
        assert f"{name} = target(SERVICE)" in source


def test_where_pods_run():
    assert profiles.cluster_kind({}) == "process"
    assert profiles.cluster_kind({"KUZNIA_CLUSTER": "kubernetes"}) == "kubernetes"
    with pytest.raises(SettingsError, match="KUZNIA_CLUSTER is 'moon'; it should be process or kubernetes"):
        profiles.cluster_kind({"KUZNIA_CLUSTER": "moon"})


@pytest.mark.slow  # the official client takes seconds to import
def test_a_local_home_may_run_its_pods_on_kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    service = FakeService()
    service.cluster.namespace("kuznia")
    service.start()
    for name, value in {
        "KUZNIA_CLUSTER": "kubernetes",
        "KUZNIA_K8S_URL": service.url,
        "KUZNIA_K8S_TRAINER_IMAGE": "trainer:1",
        "KUZNIA_K8S_ENGINE_IMAGE": "engine:1",
    }.items():
        monkeypatch.setenv(name, value)
    settings = Settings(home=tmp_path, cache=tmp_path)
    opened = profiles.open_ports(settings)
    cluster = profiles.open_cluster(settings, opened)
    assert isinstance(cluster, KubernetesCluster)
    cluster.start()
    assert cluster.list() == []
    cluster.close(stop_workloads=True)
    opened.close()
    service.close()
