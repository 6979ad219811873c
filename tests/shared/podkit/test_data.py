"""Data by URL in the pod: fetched once and whole, out of every store, and never other bytes for the same run."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import Reject
from shared.local.artifacts import DirectoryArtifacts
from shared.podkit.data import Desk, Fetched, Wanted
from shared.storage import reading
from shared.storage.open import open_artifacts
from tests.shared.hub.server import COMMIT, LATER, FakeHub, running
from tests.shared.podkit.world import wait_for

CONTENT = b'{"instruction": "a", "output": "b"}\n' * 100
OTHER = CONTENT.replace(b"b", b"c")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Several parts a file; and a disk that may be read."""
    monkeypatch.setattr(reading, "PART", 1000)
    monkeypatch.setenv("KUZNIA_DATA_ROOTS", (tmp_path / "store").as_uri())
    (tmp_path / "store").mkdir()


def desk(root: Path, name: str = "work") -> Desk:
    artifacts = DirectoryArtifacts(root / "artifacts")
    return Desk(artifacts=artifacts, place="runs/r-1", folder=root / name, check=lambda: None)


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def whole(found: Fetched, content: bytes) -> None:
    assert found.path.read_bytes() == content
    assert (found.pin.digest, found.pin.size) == (sha256(content), len(content))
    assert [path.name for path in found.path.parent.iterdir()] == [found.path.name], "nothing else is left"


@pytest.fixture(
    params=[
        "file",
        "artifactory",
        pytest.param("gcs", marks=pytest.mark.slow),
        pytest.param("s3", marks=pytest.mark.slow),
    ]
)
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a folder in which data lie."""
    if request.param == "file":
        return (tmp_path / "store").as_uri()
    root: str = request.getfixturevalue(request.param)
    monkeypatch.setenv("KUZNIA_DATA_ROOTS", root)
    return f"{root}/data-{tmp_path.name}"


def put(store: str, content: bytes, name: str = "train.jsonl") -> str:
    open_artifacts(store).write(name, content)
    return f"{store}/{name}"


def test_it_is_fetched_once_and_the_run_keeps_what_it_read(store: str, tmp_path: Path) -> None:
    url = put(store, CONTENT)
    whole(desk(tmp_path).bring(Wanted(url=url)), CONTENT)
    put(store, OTHER)
    whole(desk(tmp_path).bring(Wanted(url=url)), CONTENT)  # it is here, and nobody is asked
    with pytest.raises(Reject, match=r"was changed after this run first read it: .*push a new run"):
        desk(tmp_path, "another-machine").bring(Wanted(url=url))
    put(store, CONTENT[:-36])
    with pytest.raises(Reject, match="was changed after this run"):
        desk(tmp_path, "another-machine").bring(Wanted(url=url))
    put(store, CONTENT)
    whole(desk(tmp_path, "another-machine").bring(Wanted(url=url)), CONTENT)


def test_it_goes_on_where_it_was_cut_off(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, asked = put(store, CONTENT), 0

    class Stop(Exception):
        pass

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise Stop

    broken = Desk(artifacts=desk(tmp_path).artifacts, place="runs/r-1", folder=tmp_path / "work", check=check)
    with pytest.raises(Stop):
        broken.bring(Wanted(url=url))
    (part,) = (tmp_path / "work").rglob("arriving")
    assert part.stat().st_size == 2000
    asked = 10
    whole(broken.bring(Wanted(url=url)), CONTENT)
    assert asked == 10 + 2, "two of four parts were there"


def test_an_object_that_is_changed_while_it_is_read_is_read_anew(store: str, tmp_path: Path) -> None:
    url, asked = put(store, CONTENT), 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            put(store, OTHER)

    read = Desk(artifacts=desk(tmp_path).artifacts, place="runs/r-1", folder=tmp_path / "work", check=check)
    whole(read.bring(Wanted(url=url)), OTHER)


def test_what_is_not_there_or_empty_is_told(store: str, tmp_path: Path) -> None:
    with pytest.raises(Reject, match="is not there, or the account of this run may not see it"):
        desk(tmp_path).bring(Wanted(url=f"{store}/train.jsonl"))
    with pytest.raises(Reject, match="is empty"):
        desk(tmp_path).bring(Wanted(url=put(store, b"")))


def test_a_sha256_is_held_to(store: str, tmp_path: Path) -> None:
    url = put(store, CONTENT)
    with pytest.raises(Reject, match=f"is {sha256(CONTENT)}, and the experiment names sha256:{'0' * 64}"):
        desk(tmp_path).bring(Wanted(url=url, sha256="0" * 64))
    assert not desk(tmp_path).artifacts.list("runs/"), "what was refused is not what the run read"
    digest = hashlib.sha256(CONTENT).hexdigest()
    whole(desk(tmp_path).bring(Wanted(url=url, sha256=digest)), CONTENT)


def test_what_is_too_large_is_not_begun(tmp_path: Path) -> None:
    url = put((tmp_path / "store").as_uri(), CONTENT)
    with pytest.raises(Reject, match="at most"):
        desk(tmp_path).bring(Wanted(url=url, most=1000))
    assert not list((tmp_path / "work").rglob("arriving"))


def test_a_file_outside_the_roots_is_refused_by_whatever_way_it_is_named(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_bytes(CONTENT)
    (tmp_path / "store" / "link.json").symlink_to(secret)
    for url in (secret.as_uri(), f"{(tmp_path / 'store').as_uri()}/../secret.json"):
        with pytest.raises(Reject, match=r"allowed root|segment"):
            desk(tmp_path).bring(Wanted(url=url))
    with pytest.raises(Reject, match="which lies below no allowed root"):
        desk(tmp_path).bring(Wanted(url=f"{(tmp_path / 'store').as_uri()}/link.json"))
    (tmp_path / "store" / "folder.json").mkdir()
    with pytest.raises(Reject, match="a file is wanted"):
        desk(tmp_path).bring(Wanted(url=f"{(tmp_path / 'store').as_uri()}/folder.json"))


def test_of_two_pods_that_read_first_one_is_told(tmp_path: Path) -> None:
    """The object changes between them: what was written down first holds."""
    store = (tmp_path / "store").as_uri()
    url = put(store, CONTENT)
    first = desk(tmp_path)

    def overtaken() -> None:
        if not first.artifacts.list("runs/"):
            first.bring(Wanted(url=url))
            put(store, OTHER)

    second = Desk(artifacts=first.artifacts, place="runs/r-1", folder=tmp_path / "second", check=overtaken)
    with pytest.raises(Reject, match="was changed after this run first read it"):
        second.bring(Wanted(url=url))
    assert not list((tmp_path / "second").rglob("data.jsonl"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with running({"data/train.jsonl": CONTENT}) as made:
        monkeypatch.setenv("HF_ENDPOINT", made.endpoint)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        yield made


HUB_URL = "hf://datasets/acme/small@main/data/train.jsonl"


def test_a_hubs_branch_is_asked_once_a_run(hub: FakeHub, tmp_path: Path) -> None:
    found = desk(tmp_path).bring(Wanted(url=HUB_URL))
    whole(found, CONTENT)
    assert found.pin.read == f"hf://datasets/acme/small@{COMMIT}/data/train.jsonl"
    hub.refs = {"main": LATER, "before": COMMIT}
    again = desk(tmp_path, "another-machine").bring(Wanted(url=HUB_URL))
    assert again.pin.revision == COMMIT, "the branch went on, and the run did not"
    hub.files["data/train.jsonl"] = OTHER
    with pytest.raises(Reject, match="was changed after this run"):
        desk(tmp_path, "third").bring(Wanted(url=HUB_URL))


def test_a_hub_that_may_not_be_asked_or_has_no_such_file(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del hub.files["data/train.jsonl"]
    with pytest.raises(Reject, match=r"has no file 'data/train\.jsonl'"):
        desk(tmp_path).bring(Wanted(url=HUB_URL))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Reject, match="HF_HUB_OFFLINE"):
        desk(tmp_path).bring(Wanted(url=HUB_URL))


KILLED = """
import sys, time
from pathlib import Path
from shared.local.artifacts import DirectoryArtifacts
from shared.podkit.data import Desk, Wanted
from shared.storage import reading
reading.PART = 1000
root, seen = Path(sys.argv[1]), []
def check():
    seen.append(1)
    time.sleep(60 if len(seen) == 3 else 0)
desk = Desk(artifacts=DirectoryArtifacts(root / "artifacts"), place="runs/r-1", folder=root / "work", check=check)
desk.bring(Wanted(url=sys.argv[2]))
"""


@pytest.mark.slow
def test_a_reader_that_is_killed_leaves_what_it_has(tmp_path: Path) -> None:
    url = put((tmp_path / "store").as_uri(), CONTENT)
    reader = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), url])
    try:
        wait_for("two parts", lambda: [p for p in tmp_path.rglob("arriving") if p.stat().st_size == 2000], 30)
    finally:
        reader.kill()
    assert reader.wait() == -signal.SIGKILL
    assert not list(tmp_path.rglob("data.jsonl")), "nothing half stands under its name"
    parts: list[int] = []
    counted = Desk(
        artifacts=desk(tmp_path).artifacts,
        place="runs/r-1",
        folder=tmp_path / "work",
        check=lambda: parts.append(1),
    )
    whole(counted.bring(Wanted(url=url)), CONTENT)
    assert len(parts) == 2
