"""What each remote store does beyond the contract: large files in parts, damage noticed, leftovers swept."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from shared.errors import Reject, Retry
from shared.storage.artifactory import ArtifactoryRepository
from shared.storage.remote import RemoteArtifacts
from tests.artifactory import TOKEN, Handler, Repository, Store, serving

MEGABYTE = 1024 * 1024
LARGE = bytes(range(256)) * 4096 * 13 + b"the end"  # 13 MiB and a little


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "weights").write_bytes(LARGE)
    return tmp_path / "weights"


@pytest.mark.slow
class TestGoogle:
    def bucket(self, gcs: str) -> Any:
        module = importlib.import_module("shared.storage.google")
        return module.GoogleBucket(urlsplit(gcs).netloc, "parts", large=2 * MEGABYTE)

    def test_a_large_file_goes_in_parts_of_which_none_stays(self, gcs: str, source: Path, tmp_path: Path):
        bucket = self.bucket(gcs)
        artifacts = RemoteArtifacts(bucket, gcs, "parts")
        stored = artifacts.upload(source, "runs/weights")
        assert stored.size == len(LARGE)
        assert artifacts.list("") == ["runs/weights"]
        assert list(bucket._client.list_blobs(bucket._bucket, prefix="parts/.unfinished")) == []
        assert bucket._bucket.get_blob("parts/runs/weights").component_count in (None, 14)
        assert artifacts.download("runs/weights", tmp_path / "back") == stored
        assert (tmp_path / "back").read_bytes() == LARGE

    def test_parts_lie_where_the_account_of_a_tenant_may_write(
        self, gcs: str, source: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """As the conditions in infra/terraform/storage.tf have it: below the first two folders of the path."""
        bucket, written = self.bucket(gcs), []
        put = bucket._put_part
        monkeypatch.setattr(bucket, "_put_part", lambda part, *more: (written.append(part), put(part, *more)))
        RemoteArtifacts(bucket, gcs, "parts").upload(source, "tenants/team-x/runs/r-1/final/weights")
        assert len(written) > 1
        assert all(part.startswith("parts/.unfinished/tenants/team-x/") for part in written)
        bucket.remove("", ["parts/tenants/team-x/runs/r-1/final/weights"])

    def test_what_a_killed_process_left_is_swept_once_it_is_old(self, gcs: str):
        bucket = self.bucket(gcs)
        bucket.put("parts/.unfinished/u/0", b"half", "")
        assert list(bucket.names("parts/")) == ["parts/runs/weights"] or list(bucket.names("parts/")) == []
        assert bucket.sweep(datetime.now(UTC)) == 0
        assert bucket.sweep(datetime.now(UTC) + timedelta(days=2)) == 1
        assert bucket.sweep(datetime.now(UTC) + timedelta(days=2)) == 0

    def test_a_file_that_is_not_what_was_stored_is_told(self, gcs: str, tmp_path: Path):
        bucket = self.bucket(gcs)
        artifacts = RemoteArtifacts(bucket, gcs, "parts")
        bucket.put("parts/damaged", b"other", hashlib.sha256(b"one").hexdigest())
        with pytest.raises(Retry, match="it is damaged"):
            artifacts.download("damaged", tmp_path / "back")
        assert not (tmp_path / "back").exists()
        artifacts.delete("damaged")

    def test_a_bucket_that_is_not_there_is_told(self, gcs: str):
        module = importlib.import_module("shared.storage.google")
        with pytest.raises(Retry, match="no-such-bucket is not there: is the bucket"):
            RemoteArtifacts(module.GoogleBucket("no-such-bucket"), "gs://no-such-bucket", "").write("a", b"")


@pytest.mark.slow
class TestS3:
    def bucket(self, s3: str) -> Any:
        module = importlib.import_module("shared.storage.s3")
        return module.S3Bucket(urlsplit(s3).netloc, large=6 * MEGABYTE, part=5 * MEGABYTE)

    def test_a_large_file_goes_in_parts(self, s3: str, source: Path, tmp_path: Path):
        bucket = self.bucket(s3)
        artifacts = RemoteArtifacts(bucket, s3, "parts")
        stored = artifacts.upload(source, "weights")
        assert bucket._client.head_object(Bucket=bucket._bucket, Key="parts/weights")["ETag"].endswith('-3"')
        assert artifacts.download("weights", tmp_path / "back") == stored
        assert (tmp_path / "back").read_bytes() == LARGE

    def test_part_uploads_of_killed_processes_are_aborted_once_they_are_old(self, s3: str):
        bucket = self.bucket(s3)
        bucket._client.create_multipart_upload(Bucket=bucket._bucket, Key="parts/left")
        assert bucket.sweep(datetime(2000, 1, 1, tzinfo=UTC)) == 0
        assert bucket.sweep(datetime.now(UTC) + timedelta(days=9999)) == 1

    def test_content_that_is_not_what_was_stored_is_told(self, s3: str):
        bucket = self.bucket(s3)
        bucket.put("parts/damaged", b"other", hashlib.sha256(b"one").hexdigest())
        with pytest.raises(Retry, match="it is damaged"):
            RemoteArtifacts(bucket, s3, "parts").read("damaged")

    def test_a_bucket_that_is_not_there_is_told(self, s3: str):
        module = importlib.import_module("shared.storage.s3")
        with pytest.raises(Retry, match="NoSuchBucket"):
            RemoteArtifacts(module.S3Bucket("no-such-bucket"), "s3://no-such-bucket", "").write("a", b"")


class TestArtifactory:
    @pytest.fixture
    def repository(self) -> Repository:
        return Repository()

    @pytest.fixture
    def base(self, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        monkeypatch.setenv("JF_ACCESS_TOKEN", TOKEN)
        with serving(repository) as base:
            yield base

    def artifacts(self, base: str) -> RemoteArtifacts:
        return RemoteArtifacts(ArtifactoryRepository(base, "kuznia"), "artifactory://test/kuznia", "prod")

    def test_content_that_the_server_has_is_not_sent_again(
        self, base: str, repository: Repository, source: Path
    ):
        artifacts = self.artifacts(base)
        artifacts.upload(source, "runs/1/weights")
        artifacts.upload(source, "runs/2/weights")
        assert repository.sent == len(LARGE)
        assert sorted(repository.files) == ["prod/runs/1/weights", "prod/runs/2/weights"]

    def test_the_digest_is_a_property_that_can_be_searched_for(self, base: str, repository: Repository):
        stored = self.artifacts(base).write("a;b=c/x y", b"1")
        assert repository.properties == {
            "prod/a;b=c/x y": {"kuznia.sha256": stored.digest.removeprefix("sha256:")}
        }

    def test_folders_that_a_delete_leaves_empty_go_too(self, base: str, repository: Repository):
        artifacts = self.artifacts(base)
        artifacts.write("a/b/c", b"")
        artifacts.write("a/d", b"")
        artifacts.delete("a/b/c")
        assert repository.folders == {"prod", "prod/a"}

    def test_a_file_where_a_folder_is_is_refused(self, base: str):
        artifacts = self.artifacts(base)
        artifacts.write("a/b", b"")
        for path in ("a", "a/b/c"):
            with pytest.raises(Reject, match="a file lies where a folder should be"):
                artifacts.write(path, b"")

    def test_where_one_may_not_overwrite_the_server_itself_refuses_a_second_creator(
        self, base: str, repository: Repository, monkeypatch: pytest.MonkeyPatch
    ):
        repository.overwrite = False
        transport = ArtifactoryRepository(base, "kuznia")
        look, looks = transport._digest, iter([None])
        transport.put("prod/a", b"first", hashlib.sha256(b"first").hexdigest())
        monkeypatch.setattr(
            transport, "_digest", lambda name: next(looks, look(name))
        )  # we looked before it came
        artifacts = RemoteArtifacts(transport, "artifactory://test/kuznia", "prod")
        with pytest.raises(Reject, match="exists already with other content"):
            artifacts.create("a", b"second")
        assert artifacts.read("a") == b"first"
        with pytest.raises(Retry, match="may this token deploy, and overwrite"):
            artifacts.write("a", b"second")

    def test_who_is_sent_to_the_servers_own_store_shows_it_no_credentials(
        self, base: str, repository: Repository, source: Path, tmp_path: Path
    ):
        """The digest still is Artifactory's: it stands on the redirect."""
        artifacts = self.artifacts(base)
        stored = artifacts.upload(source, "weights")
        with serving(repository, Store) as elsewhere:
            repository.elsewhere = elsewhere
            assert artifacts.download("weights", tmp_path / "back") == stored
            transport: Any = artifacts.readable()
            head = transport.head("prod/weights")
            assert head.checks == {"sha256": stored.digest.removeprefix("sha256:")}
            assert transport.part("prod/weights", head, 5, 7) == LARGE[5:12]
            repository.files["prod/weights"] = b"damaged there"
            repository.elsewhere = elsewhere.replace("http:", "file:")
            with pytest.raises(Reject, match="no address of a file"):
                artifacts.read("weights")

    def test_a_download_that_was_cut_off_is_told(
        self, base: str, repository: Repository, source: Path, tmp_path: Path
    ):
        artifacts = self.artifacts(base)
        artifacts.upload(source, "weights")
        repository.cut = True
        with pytest.raises(Retry, match=r"cut off at \d+ of"):
            artifacts.download("weights", tmp_path / "back")
        with pytest.raises(Retry, match="IncompleteRead"):
            artifacts.read("weights")

    def test_a_proxys_page_is_told(self, base: str, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(Handler, "do_POST", lambda handler: handler._answer(200, b"<html>"))
        with pytest.raises(Retry, match="did not answer as Artifactory does"):
            self.artifacts(base).list("")

    def test_a_wrong_token_and_a_server_that_is_not_there(self, base: str, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("JF_ACCESS_TOKEN", "wrong")
        with pytest.raises(Retry, match=r"401.*set JF_ACCESS_TOKEN"):
            self.artifacts(base).write("a", b"")
        with pytest.raises(Retry, match=r"127\.0\.0\.1:9"):
            self.artifacts("http://127.0.0.1:9/artifactory").read("a")
