"""Releases by helm: `helm upgrade --install` in the tenant's namespace of servers, with a history to read.

Helm is not asked to wait until a server is ready: that may take an engine half an hour, and is the cluster's watch
to see. Its own --rollback-on-failure does wait, so what the cluster would not take is rolled back here. A helm that
was killed half-way leaves a release that is pending for ever and that no helm would touch again; who comes next
mends that.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

from shared.errors import KuzniaError, Reject, Retry, Unknown
from shared.kubernetes.manifests.labels import DIGEST, spec_digest, tenant_of
from shared.kubernetes.releases.chart import chart_digest, operator_values
from shared.kubernetes.releases.program import NOT_FOUND, Failed, Helm, understood
from shared.kubernetes.releases.secret import Keys
from shared.kubernetes.releases.values import digest_of, release_name, values_of
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.clock import Clock
from shared.ports.cluster import Workload

HISTORY = 10
DEPLOYED, FAILED = "deployed", "failed"
_GONE = ("uninstalled",)
log = logging.getLogger("kuznia.cluster")


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How helm says a release stands. description: what was written down when it was made. spec: its workload."""

    status: str
    description: str
    spec: str
    since: datetime | None

    @property
    def pending(self) -> bool:
        """Whether a helm works on it, or died while it did."""
        return self.status.startswith("pending") or self.status == "uninstalling"


class HelmReleaser:
    """A `Releaser`. One for a process; calls may come from several threads."""

    def __init__(self, settings: KubernetesSettings, keys: Keys, clock: Clock, helm: Helm) -> None:
        self._settings = settings
        self._keys = keys
        self._clock = clock
        self._helm = helm

    def apply(self, workload: Workload) -> None:
        """As `Releaser.apply`. The same workload with other values of the operator, or another chart, is upgraded."""
        place = _Place(
            release=release_name(workload.name),
            namespace=self._settings.namespace_of(tenant_of(workload), "server"),
        )
        values = values_of(workload, self._settings, operator_values(self._settings))
        wanted = f"kuznia {digest_of([chart_digest(self._settings.chart), values])}"
        standing = self._standing(place)
        if standing is not None:
            _refuse_another(workload, standing)
            if standing.status == DEPLOYED and standing.description == wanted:
                return
            if standing.pending:
                self._mend(place, standing)
        self._keys.give(workload.name, place.namespace)
        self._upgrade(place, values, wanted)

    def stop(self, name: str, namespace: str) -> None:
        """As `Releaser.stop`."""
        place = _Place(release=release_name(name), namespace=namespace)
        self._uninstall(place)
        self._keys.take(name, namespace)

    def key(self, name: str) -> str:
        """As `Releaser.key`."""
        return self._keys.of(name)

    def _upgrade(self, place: _Place, values: dict[str, Any], wanted: str) -> None:
        words = ["upgrade", "--install", place.release, self._settings.chart, "--reset-values"]
        try:
            self._change(place, [*words, "--description", wanted, "--history-max", str(HISTORY)], values)
        except Reject:
            self._undo(place)
            raise
        except Unknown:
            if not self._stands(place, wanted):
                raise

    def _undo(self, place: _Place) -> None:
        """Back to what stood before, as far as the cluster lets it; what is left, the next `apply` finds failed."""
        try:
            standing = self._standing(place)
            if standing is not None and standing.status == FAILED:
                self._back(place)
        except KuzniaError as error:
            log.warning("%s could not be rolled back: %s", place.release, error)

    def _back(self, place: _Place) -> None:
        revision = self._last_good(place)
        if revision is None:
            self._uninstall(place)
        else:
            self._change(place, ["rollback", place.release, str(revision), "--history-max", str(HISTORY)])

    def _change(self, place: _Place, words: list[str], values: dict[str, Any] | None = None) -> None:
        try:
            self._helm.change([*words, "--namespace", place.namespace, "--wait=hookOnly"], values)
        except Failed as error:
            raise understood(str(error)) from error

    def _stands(self, place: _Place, wanted: str) -> bool:
        """Whether what nobody answered was done all the same."""
        try:
            standing = self._standing(place)
        except Retry:
            return False
        return standing is not None and standing.status == DEPLOYED and standing.description == wanted

    def _standing(self, place: _Place) -> Standing | None:
        try:
            found = self._helm.ask(["status", place.release, "--namespace", place.namespace])
        except Failed as error:
            if NOT_FOUND.search(str(error)):
                return None
            raise _not_now(error) from error
        info = found["info"]
        if info["status"] in _GONE:
            return None
        config = found.get("config") or {}
        return Standing(
            status=info["status"],
            description=info.get("description", ""),
            spec=(config.get("commonAnnotations") or {}).get(DIGEST, ""),
            since=_moment(info.get("last_deployed", "")),
        )

    def _mend(self, place: _Place, standing: Standing) -> None:
        """Bring a release back to where helm will work on it. Raises Retry while another helm may still be at it."""
        age = (self._clock.now() - standing.since).total_seconds() if standing.since else self._helm.seconds
        left = self._helm.seconds - age
        if left > 0:
            raise Retry(f"{place.release}: another helm is at work on it ({standing.status})", after=left)
        if standing.status == "uninstalling":
            self._uninstall(place)
        else:
            self._back(place)

    def _last_good(self, place: _Place) -> int | None:
        try:
            history = self._helm.ask(["history", place.release, "--namespace", place.namespace])
        except Failed as error:
            if NOT_FOUND.search(str(error)):
                return None
            raise _not_now(error) from error
        good = [entry["revision"] for entry in history if entry["status"] in (DEPLOYED, "superseded")]
        return max(good, default=None)

    def _uninstall(self, place: _Place) -> None:
        try:
            self._change(place, ["uninstall", place.release, "--ignore-not-found"])
        except Unknown:
            if self._standing(place) is not None:
                raise


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    release: str
    namespace: str


def _refuse_another(workload: Workload, standing: Standing) -> None:
    if standing.spec and standing.spec != spec_digest(workload):
        raise Reject(
            f"another workload is released as {workload.name}: stop it first, or take another name "
            f"(it has {standing.spec}, this one {spec_digest(workload)})"
        )


def _not_now(error: Failed) -> Exception:
    """A question that failed changed nothing, so it is never Unknown."""
    verdict = understood(str(error))
    return Retry(str(verdict)) if isinstance(verdict, Unknown) else verdict


def _moment(text: str) -> datetime | None:
    """`2026-11-23T10:00:00.123456789Z`, whose last digits are too many for Python 3.10 and older dialects."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
