"""Makes what a workload needs in the cluster, and takes it away: each under its name, so that twice is once."""

from __future__ import annotations

from shared.errors import Conflict, Reject, Retry
from shared.kubernetes.api import Api, Object
from shared.kubernetes.kinds import DEPLOYMENT, SERVICE, Ref, ref_of
from shared.kubernetes.ledger import Entry, Main
from shared.kubernetes.manifests import manifests
from shared.kubernetes.manifests.keys import keepers, secret
from shared.kubernetes.manifests.labels import DIGEST, spec_digest, tenant_of
from shared.kubernetes.releases.releaser import Releaser
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Workload


class Maker:
    """Jobs are made here, servers by the releaser. Raises Reject, Retry, Unknown."""

    def __init__(self, api: Api, settings: KubernetesSettings, releaser: Releaser) -> None:
        self.settings = settings
        self._api = api
        self._releaser = releaser

    def main(self, workload: Workload) -> Main:
        """What will stand for it. Raises Reject where it cannot run in this cluster."""
        if workload.kind == "server":
            namespace = self.settings.namespace_of(tenant_of(workload), "server")
            return Main(api_version=DEPLOYMENT.api_version, kind=DEPLOYMENT.kind, namespace=namespace)
        ref = ref_of(manifests(workload, self.settings)[0])
        return Main(api_version=ref.kind.api_version, kind=ref.kind.kind, namespace=ref.namespace)

    def make(self, workload: Workload) -> None:
        """Success where it is there already. Raises Reject where something else is."""
        if workload.kind == "server":
            self._releaser.apply(workload)
            return
        main, *others = manifests(workload, self.settings)
        for each in others:  # before what they are to guard
            self._api.apply(each)
        try:
            made = self._api.create(main)
        except Conflict:
            made = self._require_ours(workload, main)
        if keepers(workload) and self.settings.releases != "plain":  # its pods wait for it
            self._api.apply(secret(workload, self._releaser.key, made))

    def take_away(self, entry: Entry) -> None:
        """With its pods, after their grace; absent is success."""
        name, main = entry.workload.name, entry.main
        if entry.workload.kind == "server":
            self._releaser.stop(name, main.namespace)
        else:
            present = self._api.read(main.ref(name))
            if present and self.owns(entry.workload, present):
                self._api.delete(main.ref(name))

    def owns(self, workload: Workload, main: Object) -> bool:
        """Whether this object was made of this workload. What has no digest is of a chart that writes none."""
        digest = _digest(main)
        return digest == spec_digest(workload) or (workload.kind == "server" and not digest)

    def _require_ours(self, workload: Workload, manifest: Object) -> Object:
        ref = ref_of(manifest)
        present = self._api.read(ref)
        if present is None or "deletionTimestamp" in present["metadata"]:
            raise Retry(f"{ref} is just being deleted", after=1)
        if _digest(present) != spec_digest(workload):
            raise Reject(foreign(ref))
        return present


def foreign(ref: Ref) -> str:
    """What is said where something else has the name."""
    return f"{ref} is there already, and is not this workload's: delete it, or use another name"


def _digest(present: Object) -> str:
    """Of the workload that it was made of; empty where nobody wrote one."""
    return str((present["metadata"].get("annotations") or {}).get(DIGEST) or "")


class PlainReleaser:
    """Servers as Deployments of ours, without a chart. See `Releaser`."""

    def __init__(self, api: Api, settings: KubernetesSettings) -> None:
        self._api = api
        self._settings = settings

    def apply(self, workload: Workload) -> None:
        """See `Releaser.apply`."""
        made = manifests(workload, self._settings)
        own = [ref for ref in map(ref_of, made) if ref.name == workload.name]
        for ref in own:  # an apply would take it over, whosever it is
            present = self._api.read(ref)
            if present and _digest(present) != spec_digest(workload):
                raise Reject(foreign(ref))
        for manifest in reversed(made):  # the policy and the Service first, then what they are for
            self._api.apply(manifest)

    def key(self, name: str) -> str:
        """See `Releaser.key`."""
        raise Reject(
            f"the key of {name} is not known here: a plain server and who asks it derive it by themselves"
        )

    def stop(self, name: str, namespace: str) -> None:
        """See `Releaser.stop`."""
        for kind in (DEPLOYMENT, SERVICE):
            self._api.delete(Ref(kind, namespace, name))
