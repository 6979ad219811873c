"""`GET /metrics`: what the doctor finds, examined at most once in a while."""

from __future__ import annotations

import msgspec
import pytest

from services.console.app import create_app
from shared.errors import Retry


class Examiner:
    """Counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.full = False

    def __call__(self) -> str:
        self.asked += 1
        if self.full:
            raise Retry("the disk is full")
        return f'kuznia_doctor_findings{{check="dead"}} {self.asked}\n'


@pytest.fixture
def examiner():
    return Examiner()


@pytest.fixture
def client(world, serve, examiner):
    return serve(create_app(msgspec.structs.replace(world.ports, metrics=examiner)))


def test_prometheus_text(client):
    answer = client.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text == 'kuznia_doctor_findings{check="dead"} 1\n'


def test_asked_often_it_examines_once(client, examiner):
    assert {client.get("/metrics").text for _ in range(5)} == {'kuznia_doctor_findings{check="dead"} 1\n'}
    assert examiner.asked == 1


def test_after_a_while_it_examines_again(client, monkeypatch):
    monkeypatch.setattr("services.console.api.metrics.FRESH_SECONDS", 0)
    assert client.get("/metrics").text.endswith(" 1\n")
    assert client.get("/metrics").text.endswith(" 2\n")


def test_a_store_that_cannot_be_read_is_told_and_not_remembered(client, examiner):
    examiner.full = True
    assert client.get("/metrics").status == 503
    examiner.full = False
    assert client.get("/metrics").status == 200


def test_without_an_examiner(world, serve):
    answer = serve(create_app(world.ports)).get("/metrics")
    assert answer.status == 404
    assert "kuznia doctor --metrics" in answer.json["error"]["mend"]
