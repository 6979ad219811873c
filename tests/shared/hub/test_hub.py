"""Base models from a hub, against a server that speaks its REST: pinned, checked, resumed, made once."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from shared.errors import Reject, Retry
from shared.forge import models
from shared.hub import client, snapshot
from shared.hub.client import Hub
from shared.hub.snapshot import bring
from shared.podkit.patience import Patience
from tests.shared.hub.server import COMMIT, FILES, LATER, NAME, WEIGHTS, FakeHub, Handler, once, running

TRIES = 3
ROOT = Path(__file__).parents[3]
TAKEN = {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "LICENSE", "README.md"}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with running() as made:
        yield made


def patient(slept: list[float] | None = None) -> Patience:
    return Patience(tries=TRIES, sleep=(slept if slept is not None else []).append)


def fetched(hub: FakeHub, folder: Path, revision: str = "", **more: object) -> models.BaseModel:
    asked = Hub(hub.endpoint, str(more.get("token", "")))
    return bring(asked, folder, NAME, revision, patient(more.get("slept")))  # type: ignore[arg-type]


class TestWhole:
    def test_a_branch_is_resolved_and_the_commit_is_what_it_is_known_by(self, hub: FakeHub, tmp_path: Path):
        found = fetched(hub, tmp_path)
        assert (found.name, found.revision, found.licence) == (NAME, COMMIT, "apache-2.0")
        assert found.path == tmp_path / f"acme--small@{COMMIT}"
        assert {path.name for path in found.path.iterdir()} == TAKEN | {models.SOURCE}
        assert (found.path / "model.safetensors").read_bytes() == WEIGHTS
        assert found.digest == models.digest(found.path)
        assert models.available(tmp_path) == [NAME]

    def test_neither_pickles_nor_code_nor_other_forms_are_asked_for(self, hub: FakeHub, tmp_path: Path):
        fetched(hub, tmp_path)
        names = {path.rsplit("/", 1)[1] for path in hub.paths() if "/resolve/" in path}
        assert names == TAKEN

    def test_a_commit_that_is_here_is_asked_for_no_more(self, hub: FakeHub, tmp_path: Path):
        first = fetched(hub, tmp_path, COMMIT)
        hub.asked.clear()
        assert fetched(hub, tmp_path, COMMIT) == first
        assert hub.asked == []

    def test_a_branch_that_moved_on_is_another_folder_and_the_old_one_stays(
        self, hub: FakeHub, tmp_path: Path
    ):
        old = fetched(hub, tmp_path)
        hub.refs["main"] = LATER
        hub.files["config.json"] = b'{"model_type": "llama", "more": 1}'
        new = fetched(hub, tmp_path)
        assert (new.revision, old.path.exists()) == (LATER, True)
        assert new.digest != old.digest
        assert models.resolve(tmp_path, NAME, COMMIT) == old
        assert models.resolve(tmp_path, NAME) == models.resolve(tmp_path, NAME, "main") == new

    def test_a_tag_of_a_commit_that_is_here_costs_one_question(self, hub: FakeHub, tmp_path: Path):
        fetched(hub, tmp_path)
        hub.asked.clear()
        assert fetched(hub, tmp_path, "v1.0").revision == COMMIT
        assert len(hub.asked) == 1
        assert models.resolve(tmp_path, NAME, "v1.0")

    def test_through_a_proxy_below_a_path(self, hub: FakeHub, tmp_path: Path):
        asked = Hub(f"{hub.endpoint}/proxy/", "")
        assert bring(asked, tmp_path, NAME, "main", patient()).revision == COMMIT
        assert all(path.startswith(("/proxy/", "/signed/")) for path in hub.paths())

    def test_a_mirror_that_lists_names_alone_is_believed_by_its_headers(self, hub: FakeHub, tmp_path: Path):
        hub.blobs = False
        assert fetched(hub, tmp_path).revision == COMMIT
        hub.trouble = [
            once("/signed/model.safetensors", lambda h: h.answer(200, b"x" * len(WEIGHTS)), times=9)
        ]
        with pytest.raises(Reject, match=r"model\.safetensors came with SHA-256"):
            fetched(hub, tmp_path / "other")


class TestRights:
    def test_the_token_is_shown_to_the_hub_and_to_nobody_it_redirects_to(self, hub: FakeHub, tmp_path: Path):
        hub.token = "hf_right"
        fetched(hub, tmp_path, token="hf_right")
        shown = {path.startswith("/signed/"): headers.get("authorization") for path, headers in hub.asked}
        assert shown == {False: "Bearer hf_right", True: None}

    @pytest.mark.parametrize(("token", "said"), [("", "no token is set"), ("hf_wrong", "is not enough")])
    def test_401_says_what_to_set(self, hub: FakeHub, tmp_path: Path, token: str, said: str):
        hub.token = "hf_right"
        with pytest.raises(
            Reject, match=rf"acme/small at revision 'main': 401 .*{said}: set HF_TOKEN"
        ) as caught:
            fetched(hub, tmp_path, token=token)
        assert "hf_" not in str(caught.value)
        assert len(hub.asked) == 1, "asking again does not mend it"

    def test_403_sends_to_the_terms(self, hub: FakeHub, tmp_path: Path):
        gated = once(
            "", lambda h: h.fail(403, "GatedRepo", "Access to model acme/small is restricted"), times=9
        )
        hub.trouble = [gated]
        with pytest.raises(Reject, match=r"403 Access .* accept the model's terms on its page"):
            fetched(hub, tmp_path)

    def test_404_names_the_revision(self, hub: FakeHub, tmp_path: Path):
        with pytest.raises(
            Reject, match=r"revision 'v9': 404 Invalid rev id: v9: .*are they spelt as there\?"
        ):
            fetched(hub, tmp_path, "v9")

    def test_a_revision_cannot_leave_its_place_in_the_address(self, hub: FakeHub, tmp_path: Path):
        with pytest.raises(Reject, match="404"):
            fetched(hub, tmp_path, "../../../secrets")
        assert hub.paths() == ["/api/models/acme/small/revision/..%2F..%2F..%2Fsecrets?blobs=true"]

    @pytest.mark.parametrize("name", ["small", "acme/../x", "acme/small?x=1"])
    def test_what_is_no_name_is_not_asked_for(self, hub: FakeHub, tmp_path: Path, name: str):
        with pytest.raises(Reject, match="is not the name of a base model"):
            bring(Hub(hub.endpoint), tmp_path, name, "", patient())
        assert hub.asked == []

    def test_a_hub_that_answers_with_another_commit_is_not_believed(self, hub: FakeHub, tmp_path: Path):
        hub.refs = {LATER: COMMIT}
        with pytest.raises(Reject, match="not what was asked"):
            fetched(hub, tmp_path, LATER)

    def test_a_file_of_another_commit_is_not_taken(self, hub: FakeHub, tmp_path: Path):
        hub.trouble = [once("config.json", lambda h: h.answer(200, b"{}", {"X-Repo-Commit": LATER}))]
        with pytest.raises(Reject, match="which is another"):
            fetched(hub, tmp_path)

    def test_a_model_of_pickles_is_refused(self, hub: FakeHub, tmp_path: Path):
        del hub.files["model.safetensors"]
        with pytest.raises(Reject, match="pickled weights are not taken"):
            fetched(hub, tmp_path)
        assert len(hub.asked) == 1

    def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(
        self, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(snapshot.shutil, "disk_usage", lambda _path: SimpleNamespace(free=1000))
        with pytest.raises(Reject, match=r"needs 0\.0 GB more .* make room"):
            fetched(hub, tmp_path)
        assert not any("/resolve/" in path for path in hub.paths())


class TestTrouble:
    def test_429_waits_as_long_as_it_is_told(self, hub: FakeHub, tmp_path: Path):
        hub.trouble = [once("main", lambda h: h.fail(429, "", "Too Many Requests", Retry_After="7"))]
        slept: list[float] = []
        assert fetched(hub, tmp_path, slept=slept)
        assert slept == [7.0]

    @pytest.mark.parametrize("code", [429, 500, 503])
    def test_a_hub_that_stays_away_is_a_retry_in_the_end(self, hub: FakeHub, tmp_path: Path, code: int):
        hub.trouble = [once("", lambda h: h.fail(code, "", "not now"), times=99)]
        with pytest.raises(Retry, match=f"{code} not now"):
            fetched(hub, tmp_path)
        assert len(hub.asked) == TRIES

    def test_no_hub_at_all(self, tmp_path: Path):
        with running() as gone:
            endpoint = gone.endpoint
        with pytest.raises(Retry, match="cannot be had from http"):
            bring(Hub(endpoint), tmp_path, NAME, "", patient())

    def test_a_cut_download_goes_on_where_it_was(self, hub: FakeHub, tmp_path: Path):
        third = len(WEIGHTS) // 3
        hub.trouble = [once("/signed/model.safetensors", lambda h: h.cut(WEIGHTS, third))]
        assert fetched(hub, tmp_path)
        ranges = [headers.get("range") for path, headers in hub.asked if "/signed/" in path]
        assert ranges == [None, f"bytes={third}-"]

    def test_tries_that_bring_it_forward_do_not_count(self, hub: FakeHub, tmp_path: Path):
        step = len(WEIGHTS) // 8

        def crumb(handler: Handler) -> None:
            start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
            handler.send_response(206 if start else 200)
            handler.send_header("Content-Range", f"bytes {start}-{len(WEIGHTS) - 1}/{len(WEIGHTS)}")
            handler.send_header("Content-Length", str(len(WEIGHTS) - start))
            handler.end_headers()
            handler.wfile.write(WEIGHTS[start : start + step])
            handler.close_connection = True

        hub.trouble = [once("/signed/model.safetensors", crumb, times=7)]
        assert (fetched(hub, tmp_path).path / "model.safetensors").read_bytes() == WEIGHTS

    def test_a_server_without_ranges_gives_all_of_it_again(self, hub: FakeHub, tmp_path: Path):
        hub.trouble = [
            once("/signed/model.safetensors", lambda h: h.cut(WEIGHTS, 1000)),
            once("/signed/model.safetensors", lambda h: h.answer(200, WEIGHTS)),
        ]
        assert (fetched(hub, tmp_path).path / "model.safetensors").read_bytes() == WEIGHTS

    @pytest.mark.parametrize("path", ["/signed/model.safetensors", "/config.json"])
    def test_what_came_damaged_is_thrown_away_and_fetched_again(
        self, hub: FakeHub, tmp_path: Path, path: str
    ):
        content = FILES[path.rsplit("/", 1)[1]]
        hub.trouble = [once(path, lambda h: h.answer(200, bytes(len(content))))]
        assert (fetched(hub, tmp_path).path / path.rsplit("/", 1)[1]).read_bytes() == content

    def test_what_comes_damaged_always_is_never_used(self, hub: FakeHub, tmp_path: Path):
        hub.trouble = [
            once("/signed/model.safetensors", lambda h: h.answer(200, bytes(len(WEIGHTS))), times=99)
        ]
        with pytest.raises(Reject, match=r"SHA-256 \w{64} instead of \w{64}.*may alter it"):
            fetched(hub, tmp_path)
        assert models.resolve(tmp_path, NAME, COMMIT) is None
        hub.trouble.clear()
        assert fetched(hub, tmp_path)

    def test_part_of_something_else_that_is_longer_is_fetched_anew(self, hub: FakeHub, tmp_path: Path):
        aside = tmp_path / f".acme--small@{COMMIT}.unfinished"
        aside.mkdir()
        (aside / "config.json.part").write_bytes(b"x" * 1000)
        assert (fetched(hub, tmp_path).path / "config.json").read_bytes() == FILES["config.json"]

    def test_a_link_that_ran_out_is_asked_for_again(self, hub: FakeHub, tmp_path: Path):
        hub.trouble = [once("/signed/model.safetensors", lambda h: h.fail(403, "", "Request has expired"))]
        assert fetched(hub, tmp_path)

    def test_redirects_without_end(self, hub: FakeHub, tmp_path: Path):
        hub.trouble = [once("config.json", lambda h: h.answer(302, b"", {"Location": h.path}), times=99)]
        with pytest.raises(Retry, match="more than 5 redirects"):
            fetched(hub, tmp_path)

    def test_a_redirect_to_a_file_of_this_machine_is_refused(self, hub: FakeHub, tmp_path: Path):
        hub.trouble = [once("config.json", lambda h: h.answer(302, b"", {"Location": "file:///etc/passwd"}))]
        with pytest.raises(Reject, match="no address of a file"):
            fetched(hub, tmp_path)

    @pytest.mark.parametrize("body", [b"<html>sign in</html>", b"[]", b'{"sha": "main", "siblings": []}'])
    def test_what_is_no_hub(self, hub: FakeHub, tmp_path: Path, body: bytes):
        hub.trouble = [once("", lambda h: h.answer(200, body), times=99)]
        with pytest.raises((Retry, Reject), match=r"did not answer as a model hub does|not what was asked"):
            fetched(hub, tmp_path)


class TestAtOnce:
    def test_two_that_ask_at_once_fetch_once(self, hub: FakeHub, tmp_path: Path):
        found: list[models.BaseModel] = []
        threads = [threading.Thread(target=lambda: found.append(fetched(hub, tmp_path))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        assert sum("model.safetensors" in path for path in hub.paths()) == 2, (
            "once from the hub, once from its store"
        )

    def test_killed_on_the_way_it_is_no_model_and_the_next_goes_on(self, hub: FakeHub, tmp_path: Path):
        half, go_on = len(WEIGHTS) // 2, threading.Event()

        def stall(handler: Handler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(WEIGHTS)))
            handler.end_headers()
            handler.wfile.write(WEIGHTS[:half])
            handler.wfile.flush()
            go_on.wait(60)
            handler.close_connection = True

        hub.trouble = [once("/signed/model.safetensors", stall)]
        words = f"from shared.hub.snapshot import *; bring(Hub({hub.endpoint!r}), Path({str(tmp_path)!r}), {NAME!r}, '')"
        doomed = subprocess.Popen([sys.executable, "-c", words], cwd=ROOT, stdout=subprocess.DEVNULL)
        part = tmp_path / f".acme--small@{COMMIT}.unfinished" / "model.safetensors.part"
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.01)
        kept = part.stat().st_size
        doomed.kill()
        doomed.wait()
        go_on.set()
        assert kept
        assert models.resolve(tmp_path, NAME, COMMIT) is None
        assert models.available(tmp_path) == []
        hub.asked.clear()
        assert (fetched(hub, tmp_path).path / "model.safetensors").read_bytes() == WEIGHTS
        (asked,) = [headers["range"] for path, headers in hub.asked if "/signed/" in path]
        assert asked == f"bytes={part_size(asked)}-"
        assert 0 < part_size(asked) <= half
        assert not any("/config.json" in path for path in hub.paths()), "what was whole is kept"


def part_size(asked: str) -> int:
    return int(asked.removeprefix("bytes=").removesuffix("-"))


class TestEnvironment:
    def test_the_endpoint_and_the_token_of_a_file(self, hub: FakeHub, tmp_path: Path):
        secret = tmp_path / "token"
        secret.write_text("hf_right\n")
        hub.token = "hf_right"
        asked = client.from_environment({"HF_ENDPOINT": hub.endpoint, "HF_TOKEN_PATH": str(secret)})
        assert asked.listing(NAME, "main").commit == COMMIT

    def test_the_variable_goes_before_the_file(self):
        assert client.token({"HF_TOKEN": " hf_a ", "HF_TOKEN_PATH": "/nowhere"}) == "hf_a"
        assert client.token({}) == ""
        assert client.from_environment({}).endpoint == client.HUB

    def test_a_file_that_is_not_there_is_told_by_name(self):
        with pytest.raises(Reject, match="HF_TOKEN_PATH is '/nowhere/token'"):
            client.token({"HF_TOKEN_PATH": "/nowhere/token"})

    @pytest.mark.parametrize("endpoint", ["huggingface.co", "file:///etc", "https://"])
    def test_an_endpoint_that_is_none(self, endpoint: str):
        with pytest.raises(Reject, match="it should be a URL such as"):
            client.from_environment({"HF_ENDPOINT": endpoint})
