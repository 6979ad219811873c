"""What of `benchmarks/gpu` needs no GPU: what it refuses, what it asks for, and how it counts."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from benchmarks.gpu import needs, training
from benchmarks.gpu.__main__ import compared, main, parser, table
from benchmarks.gpu.load import Load, Server, ServerError, body, tokens_a_second
from benchmarks.gpu.serving import NotReady, free_address, measured, running
from services.training.pod.config import Places, compose
from shared.experiment.keys import catalogue
from shared.settings import Settings

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


class Engine(http.server.ThreadingHTTPServer):
    """Counts what it is asked, and answers as told."""

    status = 200
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.asked: list[dict[str, object]] = []
        self.keys: set[str | None] = set()
        self.lock = threading.Lock()


class Answers(http.server.BaseHTTPRequestHandler):
    """As vLLM answers completions."""

    protocol_version = "HTTP/1.1"
    server: Engine

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            self.server.asked.append(asked)
            self.server.keys.add(self.headers["authorization"])
        content = json.dumps({"usage": {"completion_tokens": asked["max_tokens"]}}).encode()
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def server(engine: Engine, key: str = "") -> Server:
    return Server(address=f"127.0.0.1:{engine.server_port}", model="m", key=key)


class TestNeeds:
    def test_without_a_gpu_it_says_so_by_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ):
        monkeypatch.setattr(needs, "visible_gpus", lambda: 0)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert main([]) == 2
        said = capsys.readouterr().err
        assert said.count("✗ this needs") == 4, "all at once"
        assert "an NVIDIA GPU: this machine shows none" in said
        assert "make trainer" in said
        assert "make vllm" in said
        assert f"the base model {MODEL}" in said

    def test_a_part_needs_its_own_environment_only(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(needs, "visible_gpus", lambda: 1)
        settings = Settings(home=tmp_path, cache=tmp_path)
        found = needs.missing(settings, ["serving"], MODEL, cpu=False)
        assert len(found) == 2
        assert "vLLM" in found[0]


class TestTraining:
    def test_its_config_has_no_key_that_llamafactory_does_not_know(self):
        made = training.config(MODEL, training.Size(), gpus=1)
        assert made.keys() <= set(catalogue().keys)
        assert (made["bf16"], training.config(MODEL, training.Size(), gpus=0)["bf16"]) == (True, False)

    def test_bare_and_pod_train_the_same(self, tmp_path: Path, git: str):
        committed = training.config(MODEL, training.Size(steps=6, rows=3), gpus=0)
        source = training.commit(tmp_path / "repository", committed, 3)
        folder = tmp_path / "repository" / source.experiment
        assert yaml.safe_load((folder / "config.yaml").read_text()) == committed
        assert len(json.loads((folder / "train.json").read_text())) == 3
        one, other = (
            compose(committed, Places(folder=folder, output=tmp_path / name, model="/base", gpus=0))
            for name in ("pod", "bare")
        )
        assert {key for key in one if one[key] != other[key]} == {"output_dir"}


class TestLoad:
    def test_every_request_is_asked_once_and_every_token_counted(self, engine: Engine):
        load = Load(requests=17, at_once=4, prompt_words=8, tokens=32)
        assert tokens_a_second(server(engine, "k"), load) > 0
        assert len(engine.asked) == 17
        assert len({asked["prompt"] for asked in engine.asked}) == 17
        assert {asked["max_tokens"] for asked in engine.asked} == {32}
        assert engine.keys == {"Bearer k"}

    def test_fewer_requests_than_clients(self, engine: Engine):
        tokens_a_second(server(engine), Load(requests=2, at_once=64))
        assert len(engine.asked) == 2
        assert engine.keys == {None}

    def test_an_error_is_no_answer(self, engine: Engine):
        engine.status = 503
        with pytest.raises(ServerError, match="503"):
            tokens_a_second(server(engine), Load(requests=2, at_once=1))

    def test_prompts_have_the_words_they_should(self):
        asked = json.loads(body(Server(address="", model="m"), Load(prompt_words=5), 3))
        assert asked["prompt"].split() == ["request-3", "word", "word", "word", "word"]
        assert asked["ignore_eos"] is True


class TestRunning:
    def test_an_engine_that_ends_is_told_of_with_its_log(self, tmp_path: Path):
        words = [sys.executable, "-c", "print('no room')"]
        with (
            pytest.raises(NotReady, match="the engine ended; its last words are in"),
            running(words, {}, tmp_path / "log", free_address()),
        ):
            pass
        assert (tmp_path / "log").read_text() == "no room\n"

    def test_the_first_pass_only_warms(self):
        passes = iter([1.0, 10.0, 20.0])
        assert measured(lambda: next(passes), 2) == [10.0, 20.0]


def test_medians_and_their_ratio():
    found = compared([99.0, 98.0, 150.0], [100.0, 50.0, 101.0])
    assert (found["pod"], found["bare"], found["ratio"]) == (99.0, 100.0, 0.99)
    document = {"device": "1 × NVIDIA L4", "model": "m", "goal": 0.99, "training": found}
    assert "training           99.0        100.0   0.9900" in table(document)


def test_it_is_a_command_that_tells_its_options():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--help"], capture_output=True, text=True, check=True
    )
    assert "--part" in done.stdout
    assert parser().parse_args([]).rounds == 3
