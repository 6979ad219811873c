"""Releases as commits, in real bare repositories, by several at once, and killed on the way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from shared.errors import Reject, Retry, Unknown
from shared.kubernetes.kinds import Ref
from shared.kubernetes.manifests import labels
from shared.kubernetes.releases import gitops
from shared.kubernetes.releases import repository as module
from shared.kubernetes.releases.argo import Argo
from shared.kubernetes.releases.gitops import GitopsReleaser
from shared.kubernetes.releases.program import Helm
from shared.kubernetes.releases.repository import ATTEMPTS, DeployRepository
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Workload
from tests import kubernetes_checks
from tests.contracts.adapters import ROOT
from tests.shared.kubernetes.releasing import (
    CHART,
    DIGEST,
    KEY,
    MODEL,
    NAME,
    NAMESPACE,
    Objects,
    keys,
    manifests,
    of_kind,
    server,
    settings,
)

OCI = "oci://europe-docker.pkg.dev/acme/charts/llama-factory-api:0.1.0"
FOLDER = f"releases/team-x/{NAME}"


class Deploy:
    """The deploy repository, as somebody else sees it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.git("init", "--quiet", "--bare", "--initial-branch=main", str(path), where=path.parent)

    def git(self, *words: str, where: Path | None = None) -> str:
        done = subprocess.run(
            ["git", "-C", str(where or self.path), *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def commits(self) -> list[str]:
        """Newest first."""
        return self.git("log", "--format=%H", "--all").split()

    def files(self) -> list[str]:
        return self.git("ls-tree", "-r", "--name-only", "main").split("\n")

    def text(self, path: str) -> str:
        return self.git("show", f"main:{path}") + "\n"


@pytest.fixture
def deploy(tmp_path: Path, git: str) -> Deploy:
    return Deploy(tmp_path / "deploy.git")


@pytest.fixture
def repository(tmp_path: Path, deploy: Deploy) -> DeployRepository:
    return DeployRepository(str(deploy.path), "main", tmp_path / "mirror.git")


def chosen(deploy: Deploy, **more: Any) -> KubernetesSettings:
    return settings(**({"releases": "gitops", "gitops_repository": str(deploy.path), "chart": OCI} | more))


class FixedClock:
    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Applications:
    """Argo CD's objects, as the API has them."""

    def __init__(self) -> None:
        self.status: dict[str, Any] | None = None
        self.refused = False

    def read(self, ref: Ref) -> dict[str, Any] | None:
        assert (ref.kind.kind, ref.namespace, ref.name) == ("Application", "argocd", NAME)
        if self.refused:
            raise Reject("read Application: 403: is it allowed?")
        return {"status": self.status} if self.status else None


class Releases:
    """A releaser with what it was given."""

    def __init__(self, deploy: Deploy, repository: DeployRepository, helm: str, **more: Any) -> None:
        self.objects = Objects()
        of = chosen(deploy, **more)
        self.clock, self.cluster = FixedClock(), Applications()
        argo = Argo(self.cluster, self.clock)
        self.releaser = GitopsReleaser(of, keys(self.objects), repository, Helm(of, helm), argo)


@pytest.fixture
def release(deploy: Deploy, repository: DeployRepository) -> Releases:
    """Of a chart in a registry, which Argo CD renders: no helm is needed."""
    return Releases(deploy, repository, "no-helm")


class TestRelease:
    def test_one_commit_holds_all_of_it(self, deploy: Deploy, release: Releases):
        release.releaser.apply(server())
        assert len(deploy.commits) == 1
        assert deploy.files() == [
            f"{FOLDER}/{name}" for name in ("application.yaml", "release.json", "values.yaml")
        ]
        assert yaml.safe_load(deploy.text(f"{FOLDER}/values.yaml"))["model"]["manifestDigest"] == DIGEST
        facts = json.loads(deploy.text(f"{FOLDER}/release.json"))
        assert (facts["model_id"], facts["version"]) == (MODEL, "1.0.0")
        assert (facts["manifest_digest"], facts["spec_digest"]) == (DIGEST, labels.spec_digest(server()))
        (secret,) = release.objects.held.values()
        assert secret["metadata"]["namespace"] == NAMESPACE
        assert KEY not in deploy.git("show", "main")

    def test_the_commit_tells_why(self, deploy: Deploy, release: Releases):
        release.releaser.apply(server())
        message = deploy.git("log", "-1", "--format=%B")
        assert message.startswith(f"Release {MODEL} 1.0.0\n\n")
        trailers = deploy.git("log", "-1", "--format=%(trailers:only,unfold)").split("\n")
        assert f"Kuznia-Release: {NAME}" in trailers
        assert f"Kuznia-Manifest: {DIGEST}" in trailers
        assert "Kuznia-Cause: 3f0c" in trailers
        assert len(trailers) == 7

    def test_the_application_is_right(self, deploy: Deploy, release: Releases):
        release.releaser.apply(server())
        application = yaml.safe_load(deploy.text(f"{FOLDER}/application.yaml"))
        assert kubernetes_checks.faults([application], ("1.33",)) == []
        chart, values = application["spec"]["sources"]
        assert (chart["repoURL"], chart["chart"], chart["targetRevision"]) == (
            "europe-docker.pkg.dev/acme/charts",
            "llama-factory-api",
            "0.1.0",
        )
        assert chart["helm"] == {"releaseName": NAME, "valueFiles": [f"$values/{FOLDER}/values.yaml"]}
        assert values == {"repoURL": str(deploy.path), "targetRevision": "main", "ref": "values"}
        assert application["spec"]["destination"]["namespace"] == NAMESPACE
        assert application["metadata"]["annotations"][labels.DIGEST] == labels.spec_digest(server())

    @pytest.mark.slow
    def test_a_chart_on_this_machine_is_rendered_into_the_commit(
        self, deploy: Deploy, repository: DeployRepository, helm: str
    ):
        rendered = Releases(deploy, repository, helm, chart=CHART)
        rendered.releaser.apply(server())
        rendered.releaser.apply(server())
        assert len(deploy.commits) == 1
        documents = manifests(deploy.text(f"{FOLDER}/manifests/release.yaml"))
        assert of_kind(documents, "Deployment")["metadata"]["name"] == NAME
        application = yaml.safe_load(deploy.text(f"{FOLDER}/application.yaml"))
        assert kubernetes_checks.faults([application], ("1.33",)) == []
        assert application["spec"]["source"]["path"] == f"{FOLDER}/manifests"

    def test_the_same_again_is_no_commit(
        self, deploy: Deploy, release: Releases, repository: DeployRepository
    ):
        release.releaser.apply(server())
        release.releaser.apply(server())
        Releases(deploy, repository, "no-helm").releaser.apply(server())
        assert len(deploy.commits) == 1

    def test_other_values_of_the_operator_are_a_commit(
        self, deploy: Deploy, release: Releases, repository: DeployRepository
    ):
        release.releaser.apply(server())
        Releases(deploy, repository, "no-helm", priority_class="serving").releaser.apply(server())
        assert len(deploy.commits) == 2
        assert yaml.safe_load(deploy.text(f"{FOLDER}/values.yaml"))["priorityClassName"] == "serving"

    def test_another_workload_under_the_name_is_refused(self, deploy: Deploy, release: Releases):
        release.releaser.apply(server())
        with pytest.raises(Reject, match=f"another workload is released as {NAME}"):
            release.releaser.apply(server(engine="llamafactory"))
        assert len(deploy.commits) == 1

    def test_a_stop_is_a_commit_and_a_second_one_is_none(self, deploy: Deploy, release: Releases):
        other = "serve-other-1"
        release.releaser.apply(server())
        release.releaser.apply(server(other))
        release.releaser.stop(NAME, NAMESPACE)
        assert {path.split("/")[2] for path in deploy.files()} == {other}
        assert [name for _, name in release.objects.held] == [f"{other}-key"]
        assert deploy.git("log", "-1", "--format=%s") == f"Remove {NAME}"
        release.releaser.stop(NAME, NAMESPACE)
        release.releaser.stop("never-there", NAMESPACE)
        assert len(deploy.commits) == 3

    @pytest.mark.parametrize(
        "url", ["https://ann:token@git.example/d.git", "https://token@git.example/d.git"]
    )
    def test_credentials_are_kept_out_of_the_repository(
        self, deploy: Deploy, repository: DeployRepository, url: str
    ):
        with pytest.raises(Reject, match="holds credentials: leave them to git"):
            Releases(deploy, repository, "no-helm", gitops_repository=url)

    def test_a_user_of_ssh_is_no_secret(self, deploy: Deploy, repository: DeployRepository):
        Releases(deploy, repository, "no-helm", gitops_repository="ssh://git@git.example/d.git")


class TestWaiting:
    """Asked again, while there is no Deployment."""

    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(gitops, "LOOK_SECONDS", 0.0)

    def test_argo_has_its_time(self, release: Releases):
        for status in (None, {"health": {"status": "Progressing"}, "sync": {"status": "Synced"}}):
            release.cluster.status = status
            release.releaser.apply(server())
            release.releaser.apply(server())

    @pytest.mark.parametrize(
        ("status", "cause"),
        [
            (None, "has the root Application been applied?"),
            (
                {"conditions": [{"type": "ComparisonError", "message": "authentication required"}]},
                "authentication",
            ),
            ({"sync": {"status": "OutOfSync"}}, "it is pending, and says nothing more"),
        ],
    )
    def test_and_no_more(self, release: Releases, status: dict[str, Any] | None, cause: str):
        release.releaser.apply(server())
        release.cluster.status = status
        release.clock.ahead = timedelta(seconds=601)
        with pytest.raises(
            Reject, match="Argo CD has not made it within 600 s of its commit: .*" + re.escape(cause)
        ):
            release.releaser.apply(server())

    def test_what_may_not_be_read_is_told(self, release: Releases):
        release.releaser.apply(server())
        release.cluster.refused, release.clock.ahead = True, timedelta(seconds=601)
        with pytest.raises(Reject, match="403: is it allowed"):
            release.releaser.apply(server())

    def test_what_has_failed_is_not_waited_for(self, release: Releases):
        release.releaser.apply(server())
        release.cluster.status = {"health": {"status": "Degraded"}}
        with pytest.raises(Reject, match="Argo CD calls it degraded"):
            release.releaser.apply(server())

    def test_what_is_there_may_be_old(self, release: Releases):
        release.releaser.apply(server())
        release.cluster.status = {"health": {"status": "Healthy"}, "sync": {"status": "Synced"}}
        release.clock.ahead = timedelta(days=9)
        release.releaser.apply(server())


def test_who_asks_every_second_is_not_answered_by_git(release: Releases, monkeypatch: pytest.MonkeyPatch):
    release.releaser.apply(server())
    with monkeypatch.context() as patch:
        patch.setattr(DeployRepository, "read", lambda *_: pytest.fail("git was asked"))
        release.releaser.apply(server())
        with pytest.raises(pytest.fail.Exception):
            release.releaser.apply(server(engine="llamafactory"))
    release.releaser.stop(NAME, NAMESPACE)
    release.releaser.apply(server())


class TestRepository:
    def test_others_files_stay(self, deploy: Deploy, repository: DeployRepository):
        repository.put("a/one", {"x": "1\n"}, "one")
        assert repository.put("a/two", {"y/z": "ł\n", "x": "2\n"}, "two")
        assert repository.read("a/two") == {"y/z": "ł\n", "x": "2\n"}
        assert repository.put("a/two", {"x": "3\n"}, "three")
        assert deploy.files() == ["a/one/x", "a/two/x"]
        assert repository.folders("a", "one") == []
        assert repository.remove("a/one", "gone")
        assert repository.remove("a/one", "gone") == ""
        assert repository.read("a/one") == {}

    def test_names_are_whole_names(self, repository: DeployRepository):
        for folder in ("r/t/a", "r/t/a-b", "r/u/a", "r/a/x", "q/t/a"):
            repository.put(folder, {"f": folder}, folder)
        assert repository.folders("r", "a") == ["r/t/a", "r/u/a"]

    def test_one_by_one_at_once(self, deploy: Deploy, tmp_path: Path):
        faults: list[BaseException] = []

        def push(worker: int) -> None:
            own = DeployRepository(str(deploy.path), "main", tmp_path / f"mirror-{worker}.git")
            try:
                for turn in range(3):
                    own.put(f"releases/t/{worker}-{turn}", {"f": f"{worker} {turn}\n"}, f"{worker} {turn}")
            except Exception as error:
                faults.append(error)

        threads = [threading.Thread(target=push, args=(worker,)) for worker in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == []
        assert len(deploy.files()) == len(deploy.commits) == 9
        assert deploy.git("rev-list", "--count", "--min-parents=2", "main") == "0"

    def test_somebody_is_quicker(self, deploy: Deploy, tmp_path: Path):
        quick = DeployRepository(str(deploy.path), "main", tmp_path / "quick.git")
        slow = Overtaken(
            deploy, tmp_path, lambda turn: turn == 1 and quick.put("a", {"f": "theirs\n"}, "theirs")
        )
        assert slow.put("b", {"f": "ours\n"}, "ours")
        assert deploy.files() == ["a/f", "b/f"]
        assert slow.turns == 2

    def test_somebody_is_quicker_with_the_same(self, deploy: Deploy, tmp_path: Path):
        quick = DeployRepository(str(deploy.path), "main", tmp_path / "quick.git")
        slow = Overtaken(deploy, tmp_path, lambda _turn: quick.put("a", {"f": "same\n"}, "same"))
        slow.put("a", {"f": "same\n"}, "the same, but for the message")
        assert deploy.git("log", "--format=%s") == "same"

    @pytest.mark.slow
    def test_somebody_is_always_quicker(self, deploy: Deploy, tmp_path: Path):
        quick = DeployRepository(str(deploy.path), "main", tmp_path / "quick.git")
        slow = Overtaken(deploy, tmp_path, lambda turn: quick.put("a", {"f": f"{turn}\n"}, "theirs"))
        with pytest.raises(Retry, match=f"others pushed {ATTEMPTS} times"):
            slow.put("b", {"f": "ours\n"}, "ours")
        assert deploy.files() == ["a/f"]

    def test_a_repository_that_is_not_there(self, tmp_path: Path, git: str):
        with pytest.raises(Reject):
            DeployRepository(str(tmp_path / "none"), "main", tmp_path / "mirror.git").put("a", {"f": ""}, "m")

    def test_a_hook_that_refuses(self, deploy: Deploy, repository: DeployRepository):
        hook = deploy.path / "hooks" / "pre-receive"
        hook.write_text("#!/bin/sh\necho 'releases need two eyes' >&2\nexit 1\n")
        hook.chmod(0o755)
        with pytest.raises(Reject, match="releases need two eyes"):
            repository.put("a", {"f": ""}, "m")
        assert deploy.commits == []


class Overtaken(DeployRepository):
    """Somebody does something just before each of its pushes."""

    def __init__(self, deploy: Deploy, folder: Path, before: Callable[[int], object]) -> None:
        super().__init__(str(deploy.path), "main", folder / "slow.git")
        self.turns, self._before = 0, before

    def _push(self, commit: str, holds: Callable[[], bool]) -> bool:
        self.turns += 1
        self._before(self.turns)
        return super()._push(commit, holds)


class TestPushesWithoutAnAnswer:
    @pytest.mark.slow
    def test_it_was_taken_all_the_same(self, deploy: Deploy, slow_git: Callable[[str], None], tmp_path: Path):
        slow_git('"$real" "$@" && exec sleep 60')
        mine = DeployRepository(str(deploy.path), "main", tmp_path / "mirror.git", seconds=2)
        assert mine.put("a", {"f": "1\n"}, "m") == deploy.commits[0]

    @pytest.mark.slow
    def test_it_may_not_have_been(self, deploy: Deploy, slow_git: Callable[[str], None], tmp_path: Path):
        slow_git("exec sleep 60")
        mine = DeployRepository(str(deploy.path), "main", tmp_path / "mirror.git", seconds=2)
        with pytest.raises(Unknown, match="timed out"):
            mine.put("a", {"f": "1\n"}, "m")
        assert deploy.commits == []

    @pytest.mark.parametrize(
        ("words", "verdict"),
        [
            ("fatal: unable to access: Could not resolve host: git.example", Retry),
            ("ssh: connect to host git.example port 22: Connection refused", Retry),
            ("error: RPC failed; HTTP 503; fatal: the remote end hung up unexpectedly", Unknown),
            ("fatal: Authentication failed for https://git.example/", Reject),
        ],
    )
    def test_what_git_says_of_it(
        self,
        deploy: Deploy,
        slow_git: Callable[[str], None],
        tmp_path: Path,
        words: str,
        verdict: type[Exception],
    ):
        slow_git(f"echo '{words}' >&2; exit 128")
        mine = DeployRepository(str(deploy.path), "main", tmp_path / "mirror.git")
        with pytest.raises(verdict, match=words.rpartition(":")[2].strip()):
            mine.put("a", {"f": "1\n"}, "m")


@pytest.fixture
def slow_git(tmp_path: Path, git: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A git that does something of its own where it is to push."""

    def make(script: str) -> None:
        path = tmp_path / "bin" / "git"
        path.parent.mkdir()
        path.write_text(
            f'#!/bin/sh\nreal={git}\ncase " $* " in *" push "*) {script} ;; esac\nexec "$real" "$@"\n'
        )
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")

    return make


def test_killed_between_commit_and_push(
    deploy: Deploy, repository: DeployRepository, slow_git: Callable[[str], None], tmp_path: Path
):
    slow_git("kill -9 $PPID; exec sleep 1")
    words: Sequence[str] = [str(deploy.path), str(tmp_path / "mirror.git")]
    code = (
        "import sys; from pathlib import Path; from shared.kubernetes.releases.repository import DeployRepository;"
        "DeployRepository(sys.argv[1], 'main', Path(sys.argv[2])).put('a', {'f': '1\\n'}, 'm')"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, check=False)
    assert done.returncode == -9
    assert deploy.commits == []
    slow = os.environ["PATH"].split(os.pathsep)[0]
    (Path(slow) / "git").unlink()
    assert repository.put("a", {"f": "1\n"}, "m") == deploy.commits[0]
    assert repository.put("a", {"f": "1\n"}, "m") == ""
    assert deploy.text("a/f").strip() == "1"


def test_our_own_name_gives_way_to_one_that_is_set(
    deploy: Deploy, repository: DeployRepository, monkeypatch: pytest.MonkeyPatch
):
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.delenv(name, raising=False)
    repository.put("a", {"f": "1\n"}, "m")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "Releases of Acme")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere")
    repository.put("a", {"f": "2\n"}, "m")
    assert deploy.git("log", "--format=%an|%cn").split("\n") == [
        f"{module.PERSON['GIT_AUTHOR_NAME']}|Releases of Acme",
        "Kuznia|Kuznia",
    ]


def test_a_workload_without_a_tenant_has_no_place(release: Releases):
    nobodys: Workload = replace(server(), labels={})
    with pytest.raises(Reject, match="tenant"):
        release.releaser.apply(nobodys)
