"""The weights come whole and checked, or nothing is served."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.deployment.pod import bring
from services.deployment.pod.fetch import main, read
from shared.errors import Reject, Retry
from tests.services.deployment.pod.stored import BASE, FILES, Stored


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path)


def test_they_are_copied_whole(stored: Stored, capsys: pytest.CaptureFixture[str]):
    stored.fetch()
    assert stored.here() == FILES
    assert f"weights: 3 files, 0.0 MB, as {stored.digest} says (full)" in capsys.readouterr().out
    assert [path.name for path in stored.folder.parent.iterdir()] == ["weights"]


def test_a_container_that_starts_again_copies_nothing(stored: Stored):
    stored.fetch()
    before = stored.folder.stat().st_ino
    stored.fetch()
    assert stored.folder.stat().st_ino == before


@pytest.mark.parametrize("damage", ["changed", "missing", "stranger"])
def test_what_is_damaged_here_is_brought_anew(stored: Stored, damage: str):
    stored.fetch()
    if damage == "changed":
        (stored.folder / "adapter_config.json").write_bytes(b"{}")
    elif damage == "missing":
        (stored.folder / "adapter_config.json").unlink()
    else:
        (stored.folder / "model.safetensors").write_bytes(b"a loader would prefer this one")
    stored.fetch()
    assert stored.here() == FILES


def test_half_of_them_is_never_seen(stored: Stored):
    (stored.path() / "chat_template.jinja").unlink()
    with pytest.raises(Reject, match=r"final/chat_template.jinja is missing"):
        stored.fetch()
    assert list(stored.folder.parent.iterdir()) == []


def test_old_weights_stay_until_the_new_ones_are_whole(stored: Stored):
    stored.fetch()
    digest = stored.upload("next", FILES | {"chat_template.jinja": b"another"})
    (stored.path("next") / "adapter_config.json").write_bytes(b"{}")
    part = stored.part(url=stored.path("next").as_uri(), manifest_digest=digest)
    with pytest.raises(Reject, match="and its manifest says sha256:"):
        stored.fetch(stored.asked(part))
    assert stored.here() == FILES


def test_exchanged_weights_are_refused(stored: Stored):
    with pytest.raises(Reject, match="the weights were exchanged, and are not used"):
        stored.fetch(stored.asked(stored.part(manifest_digest="sha256:" + "0" * 64)))
    (stored.path() / "adapter_model.safetensors").write_bytes(b"weights" * 999 + b"Weights")
    with pytest.raises(Reject, match=r"adapter_model.safetensors is sha256:\w+, and its manifest says"):
        stored.fetch()
    assert not stored.folder.exists()


def test_weights_without_a_manifest_are_refused(stored: Stored):
    (stored.path() / "manifest.json").unlink()
    with pytest.raises(Reject, match=r"has no manifest.json: its weights are not used"):
        stored.fetch()


def test_a_digest_must_be_known_where_it_is_to_be_verified(stored: Stored):
    with pytest.raises(Reject, match="no manifest_digest is given"):
        stored.fetch(stored.asked(stored.part(manifest_digest="")))


def test_unverified_they_are_copied_as_they_lie(stored: Stored, capsys: pytest.CaptureFixture[str]):
    (stored.path() / "manifest.json").unlink()
    stored.fetch(stored.asked(stored.part(manifest_digest="", verify="none")))
    assert stored.here() == FILES
    assert "not verified" in capsys.readouterr().out
    with pytest.raises(Reject, match="nothing lies in"):
        stored.fetch(stored.asked(stored.part(url=stored.path("other").as_uri(), verify="none")))


class TestLookedAt:
    """Mounted or streamed weights are not copied."""

    def look(self, stored: Stored, verify: str) -> None:
        stored.fetch(stored.asked(stored.part(folder="", verify=verify)))

    @pytest.mark.parametrize("verify", ["full", "manifest"])
    def test_they_are_fine(self, stored: Stored, verify: str):
        self.look(stored, verify)
        assert not stored.folder.exists()

    @pytest.mark.parametrize("verify", ["full", "manifest"])
    def test_a_file_more_or_less_is_seen(self, stored: Stored, verify: str):
        (stored.path() / "model.safetensors").write_bytes(b"")
        (stored.path() / "chat_template.jinja").unlink()
        with pytest.raises(Reject) as refused:
            self.look(stored, verify)
        assert "final/model.safetensors is in no manifest" in str(refused.value)
        assert "final/chat_template.jinja is missing" in str(refused.value)

    def test_only_full_sees_a_changed_byte(self, stored: Stored):
        (stored.path() / "adapter_model.safetensors").write_bytes(b"weights" * 999 + b"Weights")
        self.look(stored, "manifest")
        with pytest.raises(Reject, match="is not what was registered, and is not used"):
            self.look(stored, "full")


class TestToldOtherwise:
    """The engine was started for something else: better to say so now than to have it die of it."""

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            (
                {"kind": "model", "base_model": ""},
                "model.kind is model, and these weights are of kind adapter",
            ),
            (
                {"base_model": "org/other"},
                f"model.base.id is org/other, and this adapter was trained on {BASE}",
            ),
            ({"max_rank": 4}, "the adapter's rank is 8, and vllm.maxLoraRank is 4: raise it"),
            ({"chat_template": "template.txt"}, r"there is no template.txt: set vllm.chatTemplate"),
        ],
    )
    def test_it_is_told(self, stored: Stored, more: dict[str, Any], words: str):
        with pytest.raises(Reject, match=words):
            stored.fetch(stored.asked(**more))

    def test_what_fits_passes(self, stored: Stored):
        stored.fetch(stored.asked(max_rank=8, chat_template="chat_template.jinja"))


def test_a_store_that_is_away_is_waited_for(stored: Stored, monkeypatch: pytest.MonkeyPatch):
    opened, answers = bring.open_artifacts, iter([Retry("503", 4)])

    def away(url: str) -> Any:
        for error in answers:
            raise error
        return opened(url)

    monkeypatch.setattr(bring, "open_artifacts", away)
    stored.fetch()
    assert stored.waits == [4]
    assert stored.here() == FILES


def test_a_full_disk_is_told_before_it_is_full(stored: Stored, monkeypatch: pytest.MonkeyPatch):
    usage = shutil.disk_usage(stored.root)._replace(free=1000)
    monkeypatch.setattr(bring.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(Reject, match=r"the weights have 0.00 GB, and \S+ has 0.00 GB left: raise model.disk"):
        stored.fetch()


def test_other_parts_are_brought_beside_them(stored: Stored):
    digest = stored.upload("base", {"model.safetensors": b"base"}, kind="model", base_model="")
    folder = stored.folder.with_name("base")
    known = {"name": "base", "url": stored.path("base").as_uri(), "folder": str(folder)}
    for said in ({"verify": "none"}, {"manifest_digest": digest}):
        base = bring.Part(**known, **said)
        stored.fetch(stored.asked(parts=(stored.part(), base)))
        assert (folder / "model.safetensors").read_bytes() == b"base"


def test_a_path_out_of_the_folder_is_refused(stored: Stored):
    manifest = json.loads((stored.path() / "manifest.json").read_bytes())
    manifest["files"][0]["path"] = "../../outside"
    content = json.dumps(manifest).encode()
    digest = stored.store.write("runs/final/manifest.json", content).digest
    with pytest.raises(Reject, match="has a segment"):
        stored.fetch(stored.asked(stored.part(manifest_digest=digest)))


class TestStarted:
    """As the container starts it."""

    def test_in_a_process_of_its_own(self, stored: Stored):
        env = os.environ | stored.write(stored.asked())
        words = [sys.executable, "-m", "services.deployment.pod.fetch"]
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert stored.here() == FILES

    def test_a_refusal_is_its_exit_code(self, stored: Stored, capsys: pytest.CaptureFixture[str]):
        environ = stored.write(stored.asked(kind="model"))
        assert main(environ) == 1
        assert "the weights are not here: model.kind is model" in capsys.readouterr().out

    def test_what_it_is_told_must_be_there_and_right(self, stored: Stored):
        with pytest.raises(Reject, match="KUZNIA_FETCH is not set"):
            read({})
        with pytest.raises(Reject, match="No such file"):
            read({"KUZNIA_FETCH": str(stored.root / "none")})
        environ = stored.write(stored.asked())
        Path(environ["KUZNIA_FETCH"]).write_text('{"parts": [], "kind": "lora"}')
        with pytest.raises(Reject, match=r"Invalid enum value 'lora' - at `\$.kind`"):
            read(environ)

    def test_a_url_that_names_no_store_is_told(self, stored: Stored):
        for url, words in [
            ("ftp://host/folder/x", "names no artifact store"),
            ("gs://bucket", "names no folder"),
        ]:
            with pytest.raises(Reject, match=words):
                stored.fetch(stored.asked(msgspec.structs.replace(stored.part(), url=url)))
