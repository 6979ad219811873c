"""The contract of `shared.ports.artifacts`, held by each adapter, and what the directory adapter adds."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shared.errors import Reject, Retry
from shared.local import artifacts as module
from shared.local.artifacts import UNFINISHED, DirectoryArtifacts
from shared.ports.artifacts import Artifacts, Stored
from shared.storage.open import open_artifacts

REMOTE = ["gcs", "s3", "artifactory"]  # fixtures of tests/emulators.py, each the URL of an empty store
ADAPTERS = ["directory", *(pytest.param(name, marks=pytest.mark.slow) for name in REMOTE)]
Maker = Callable[[Path], Artifacts]
BAD_PATHS = [
    "", "/etc/passwd", "../x", "a/../b", "a/./b", "a//b", "a/", "a\0b", "a\nb", "a/" + "x" * 256,
    "/".join(["abcdefgh"] * 200),
]  # fmt: skip


def stored(path: str, content: bytes) -> Stored:
    return Stored(path=path, size=len(content), digest="sha256:" + hashlib.sha256(content).hexdigest())


def maker(request: pytest.FixtureRequest, adapter: str) -> Maker:
    """Opens the adapter's store that belongs to a folder of this machine."""
    if adapter == "directory":
        return lambda folder: DirectoryArtifacts(folder / "store")
    url = request.getfixturevalue(adapter)
    return lambda folder: open_artifacts(f"{url}/{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}")


@pytest.fixture(params=ADAPTERS)
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Artifacts:
    return maker(request, request.param)(tmp_path)


@pytest.fixture
def directory(tmp_path: Path) -> DirectoryArtifacts:
    return DirectoryArtifacts(tmp_path / "store")


class TestContract:
    def test_what_is_written_is_read(self, artifacts: Artifacts) -> None:
        assert artifacts.write("runs/r-1/a.json", b"one") == stored("runs/r-1/a.json", b"one")
        assert artifacts.read("runs/r-1/a.json") == b"one"

    def test_a_write_replaces(self, artifacts: Artifacts) -> None:
        artifacts.write("a", b"one, and long")
        artifacts.write("a", b"two")
        assert artifacts.read("a") == b"two"

    def test_an_empty_file_is_a_file(self, artifacts: Artifacts) -> None:
        assert artifacts.write("a", b"") == stored("a", b"")
        assert artifacts.read("a") == b""
        assert artifacts.list("") == ["a"]

    def test_create_takes_the_same_again_and_refuses_another(self, artifacts: Artifacts) -> None:
        first = artifacts.create("a/manifest.json", b"one")
        assert artifacts.create("a/manifest.json", b"one") == first
        with pytest.raises(Reject, match=r"a/manifest\.json.*other content"):
            artifacts.create("a/manifest.json", b"two")
        assert artifacts.read("a/manifest.json") == b"one"

    def test_of_many_creators_one_wins(self, artifacts: Artifacts) -> None:
        outcomes: list[str] = []

        def create(text: str) -> None:
            try:
                artifacts.create("a/b/c", text.encode())
                outcomes.append(text)
            except Reject:
                outcomes.append("")

        threads = [threading.Thread(target=create, args=(str(number),)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winners = [text for text in outcomes if text]
        assert len(outcomes) == 8
        assert [artifacts.read("a/b/c").decode()] == winners

    def test_absent_is_not_found(self, artifacts: Artifacts, tmp_path: Path) -> None:
        artifacts.write("a/b", b"")
        for path in ("missing", "a", "a/missing", "a/b/c"):
            with pytest.raises(FileNotFoundError):
                artifacts.read(path)
            with pytest.raises(FileNotFoundError):
                artifacts.download(path, tmp_path / "target")
        assert not (tmp_path / "target").exists()

    def test_upload_and_download_keep_every_byte(self, artifacts: Artifacts, tmp_path: Path) -> None:
        content = bytes(range(256)) * 20_000  # more than one chunk
        (tmp_path / "source").write_bytes(content)
        assert artifacts.upload(tmp_path / "source", "x/weights") == stored("x/weights", content)
        target = tmp_path / "new" / "folder" / "weights"
        assert artifacts.download("x/weights", target) == stored("x/weights", content)
        assert target.read_bytes() == content
        assert [path.name for path in target.parent.iterdir()] == ["weights"]

    def test_upload_refuses_what_is_no_file(self, artifacts: Artifacts, tmp_path: Path) -> None:
        with pytest.raises(Reject, match="no file"):
            artifacts.upload(tmp_path / "missing", "a")
        with pytest.raises(Reject, match="no file"):
            artifacts.upload(tmp_path, "a")

    def test_list_goes_by_folder_not_by_beginning(self, artifacts: Artifacts) -> None:
        for path in ("runs/r-10/a", "runs/r-1/b", "runs/r-1/a/deep", "models/m"):
            artifacts.write(path, b"")
        assert artifacts.list("runs/r-1") == ["runs/r-1/a/deep", "runs/r-1/b"]
        assert artifacts.list("runs/r-1/") == artifacts.list("runs/r-1")
        assert artifacts.list("runs/r-1/b") == ["runs/r-1/b"]
        assert artifacts.list("") == ["models/m", "runs/r-1/a/deep", "runs/r-1/b", "runs/r-10/a"]
        assert artifacts.list("none") == []

    def test_delete_goes_by_folder_and_absent_is_success(self, artifacts: Artifacts) -> None:
        for path in ("runs/r-10/a", "runs/r-1/b", "runs/r-1/a/deep", "lone"):
            artifacts.write(path, b"")
        artifacts.delete("runs/r-1")
        artifacts.delete("runs/r-1")
        artifacts.delete("lone")
        artifacts.delete("runs/r-10/a/below-a-file")
        assert artifacts.list("") == ["runs/r-10/a"]

    def test_a_path_is_free_after_a_delete(self, artifacts: Artifacts) -> None:
        artifacts.write("a/b/c", b"")
        artifacts.delete("a/b/c")
        artifacts.write("a", b"now a file")
        assert artifacts.list("") == ["a"]

    @pytest.mark.parametrize("path", BAD_PATHS)
    def test_bad_paths_are_refused_everywhere(self, artifacts: Artifacts, tmp_path: Path, path: str) -> None:
        (tmp_path / "source").write_bytes(b"x")
        calls: list[Callable[[], object]] = [
            lambda: artifacts.write(path, b""),
            lambda: artifacts.create(path, b""),
            lambda: artifacts.read(path),
            lambda: artifacts.upload(tmp_path / "source", path),
            lambda: artifacts.download(path, tmp_path / "target"),
            lambda: artifacts.uri(path),
            lambda: artifacts.local(path),
        ]
        for call in calls:
            with pytest.raises(Reject, match="artifact path"):
                call()
        assert artifacts.list("") == []

    def test_an_empty_prefix_deletes_nothing(self, artifacts: Artifacts) -> None:
        artifacts.write("a", b"")
        for prefix in ("", "/"):
            with pytest.raises(Reject, match="whole store"):
                artifacts.delete(prefix)
        assert artifacts.list("") == ["a"]

    def test_a_reader_never_sees_a_part(self, artifacts: Artifacts) -> None:
        contents = [letter * 300_000 for letter in (b"a", b"b")]
        artifacts.write("x", contents[0])
        done = threading.Event()

        def rewrite() -> None:
            for number in range(20):
                artifacts.write("x", contents[number % 2])
            done.set()

        writer = threading.Thread(target=rewrite)
        writer.start()
        reads = 0
        while not done.is_set() or reads == 0:
            assert artifacts.read("x") in contents
            assert artifacts.list("") == ["x"]
            reads += 1
        writer.join()


class ArtifactsMachine(RuleBasedStateMachine):
    """Any sequence of calls leaves what a dictionary would hold."""

    folders = st.sampled_from(["runs/r-1", "runs/r-10", "runs", "models/ą b"])
    paths = st.builds(
        lambda folder, name: f"{folder}/{name}", folders, st.sampled_from(["x.json", "y", "z.bin"])
    )
    contents = st.binary(max_size=40)
    make: Callable[[Path], Artifacts]

    def __init__(self) -> None:
        super().__init__()
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name)
        self.artifacts = type(self).make(self.folder)
        self.model: dict[str, bytes] = {}

    def teardown(self) -> None:
        self._temporary.cleanup()

    @rule(path=paths, content=contents)
    def write(self, path: str, content: bytes) -> None:
        assert self.artifacts.write(path, content) == stored(path, content)
        self.model[path] = content

    @rule(path=paths, content=contents)
    def create(self, path: str, content: bytes) -> None:
        if self.model.setdefault(path, content) == content:
            assert self.artifacts.create(path, content) == stored(path, content)
            return
        with pytest.raises(Reject):
            self.artifacts.create(path, content)

    @rule(path=paths, content=contents)
    def upload(self, path: str, content: bytes) -> None:
        (self.folder / "source").write_bytes(content)
        assert self.artifacts.upload(self.folder / "source", path) == stored(path, content)
        self.model[path] = content

    @rule(path=paths)
    def download(self, path: str) -> None:
        target = self.folder / "out" / "target"
        if path in self.model:
            assert self.artifacts.download(path, target) == stored(path, self.model[path])
            assert target.read_bytes() == self.model[path]
        else:
            with pytest.raises(FileNotFoundError):
                self.artifacts.download(path, target)

    @rule(prefix=st.one_of(folders, paths))
    def delete(self, prefix: str) -> None:
        self.artifacts.delete(prefix)
        self.model = {path: content for path, content in self.model.items() if not below(path, prefix)}

    @rule(prefix=st.one_of(folders, paths))
    def list(self, prefix: str) -> None:
        assert list(self.artifacts.list(prefix)) == sorted(path for path in self.model if below(path, prefix))

    @rule()
    def open_again(self) -> None:
        self.artifacts = type(self).make(self.folder)

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert {path: self.artifacts.read(path) for path in self.artifacts.list("")} == self.model


def below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_machine(request: pytest.FixtureRequest, adapter: str) -> None:
    machine = type("Machine", (ArtifactsMachine,), {"make": staticmethod(maker(request, adapter))})
    run = machine.TestCase
    examples = 30 if adapter == "directory" else 6
    run.settings = settings(max_examples=examples, stateful_step_count=25, deadline=None, derandomize=True)
    run("runTest").runTest()


class TestDirectory:
    def test_a_link_out_of_the_store_is_refused(self, directory: DirectoryArtifacts, tmp_path: Path) -> None:
        directory.write("a/x", b"")
        (tmp_path / "secret").write_bytes(b"secret")
        (tmp_path / "store" / "a" / "out").symlink_to(tmp_path)
        (tmp_path / "store" / "a" / "file").symlink_to(tmp_path / "secret")
        for path in ("a/out/secret", "a/file"):
            with pytest.raises(Reject, match="symbolic link"):
                directory.read(path)
            with pytest.raises(Reject, match="symbolic link"):
                directory.write(path, b"overwritten")
            with pytest.raises(Reject, match="symbolic link"):
                directory.delete(path)
        assert (tmp_path / "secret").read_bytes() == b"secret"
        assert directory.list("") == ["a/x"]

    def test_a_root_behind_a_link_is_fine(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        artifacts = DirectoryArtifacts(tmp_path / "link" / "store")
        artifacts.write("a", b"x")
        assert (tmp_path / "real" / "store" / "a").read_bytes() == b"x"

    def test_unfinished_writes_are_never_listed(self, directory: DirectoryArtifacts, tmp_path: Path) -> None:
        directory.write("a", b"")
        (tmp_path / "store" / UNFINISHED / "left.new").write_bytes(b"half")
        assert directory.list("") == ["a"]
        for call in (directory.list, directory.delete, directory.read, directory.local):
            with pytest.raises(Reject, match="keeps for itself"):
                call(f"{UNFINISHED}/left.new")

    def test_sweep_removes_old_leftovers_only(self, directory: DirectoryArtifacts, tmp_path: Path) -> None:
        assert directory.sweep(0) == 0
        directory.write("a", b"")
        aside = tmp_path / "store" / UNFINISHED
        (aside / "old").mkdir()
        (aside / "old" / "file").write_bytes(b"")
        os.utime(aside / "old", (1000, 1000))
        (aside / "young").write_bytes(b"")
        os.utime(aside / "young", (90_000, 90_000))
        assert directory.sweep(now=100_000) == 1
        assert [path.name for path in aside.iterdir()] == ["young"]

    def test_a_file_is_no_folder_and_a_folder_no_file(self, directory: DirectoryArtifacts) -> None:
        directory.write("a/b", b"")
        for call in (directory.write, directory.create):
            with pytest.raises(Reject, match="folder"):
                call("a", b"")
            with pytest.raises(Reject, match="folder"):
                call("a/b/c", b"")
        assert directory.list("") == ["a/b"]

    def test_nothing_unfinished_stays_behind(self, directory: DirectoryArtifacts, tmp_path: Path) -> None:
        directory.write("a", b"")
        directory.create("b", b"")
        with pytest.raises(Reject):
            directory.create("b", b"other")
        directory.delete("a")
        assert list((tmp_path / "store" / UNFINISHED).iterdir()) == []

    def test_a_source_that_changes_is_not_stored(
        self, directory: DirectoryArtifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = tmp_path / "source"
        source.write_bytes(b"half")
        copy = module._copy

        def copy_while_somebody_writes(reader: object, writer: object) -> tuple[int, str]:
            copied = copy(reader, writer)
            source.write_bytes(b"half and the rest")
            return copied

        monkeypatch.setattr(module, "_copy", copy_while_somebody_writes)
        with pytest.raises(Retry, match="being written"):
            directory.upload(source, "a")
        assert directory.list("") == []

    def test_uri_and_local_name_the_place(self, directory: DirectoryArtifacts, tmp_path: Path) -> None:
        directory.write("a b/c#1", b"x")
        place = tmp_path / "store" / "a b" / "c#1"
        assert directory.uri("a b/c#1") == place.as_uri()
        assert directory.local("a b/c#1") == place
        assert directory.local("a b") == place.parent
        assert directory.local("missing") is None

    def test_files_have_the_usual_mode(self, directory: DirectoryArtifacts, tmp_path: Path) -> None:
        directory.write("a", b"")
        (tmp_path / "plain").write_bytes(b"")
        assert (tmp_path / "store" / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.fixture
def small_disk(tmp_path: Path, capability: Callable[[str, bool, str], None]) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "kuznia-test", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    capability("tmpfs", mounted, "root that may mount a small tmpfs")
    yield folder
    subprocess.run(["umount", folder], check=True)


class TestFullDisk:
    def test_every_way_in_says_which_disk_is_full(self, small_disk: Path, tmp_path: Path) -> None:
        artifacts = DirectoryArtifacts(small_disk / "store")
        artifacts.write("kept", b"kept")
        big = bytes(2 * 1024 * 1024)
        (tmp_path / "big").write_bytes(big)
        calls: list[Callable[[], object]] = [
            lambda: artifacts.write("kept", big),
            lambda: artifacts.create("new", big),
            lambda: artifacts.upload(tmp_path / "big", "new"),
        ]
        for call in calls:
            with pytest.raises(Retry, match=f"disk is full.*{small_disk}.*make room") as caught:
                call()
            assert "KUZNIA_HOME" in str(caught.value)
        assert artifacts.list("") == ["kept"]
        assert artifacts.read("kept") == b"kept"
        artifacts.write("small", b"there is room again, for no half of a file stayed")

    def test_a_download_onto_a_full_disk(self, small_disk: Path, tmp_path: Path) -> None:
        artifacts = DirectoryArtifacts(tmp_path / "store")
        artifacts.write("big", bytes(2 * 1024 * 1024))
        with pytest.raises(Retry, match=f"disk is full.*{small_disk}"):
            artifacts.download("big", small_disk / "out" / "big")
        assert list((small_disk / "out").iterdir()) == []
