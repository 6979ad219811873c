"""What the Google profile needs to know, from the environment; every fault is told at once."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from shared.settings import SettingsError

EMULATORS = ("PUBSUB_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST")
EMULATED_PROJECT = "kuznia-local"
_FLAGS = {"": False, "0": False, "false": False, "no": False, "1": True, "true": True, "yes": True}


class GoogleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """project: GOOGLE_CLOUD_PROJECT. database: of Firestore (KUZNIA_FIRESTORE_DATABASE). artifacts: a URL
    (KUZNIA_ARTIFACTS; empty: the folder of this home). create: make topics, subscriptions as they are needed
    (KUZNIA_GCP_CREATE; on emulators always), else Terraform has made them. push: base URL that Pub/Sub pushes
    to, `<push>/<service>` (KUZNIA_PUSH_ENDPOINT; empty: pull); push_account: whose OIDC token it then carries
    (KUZNIA_PUSH_ACCOUNT), push_audience: for whom (KUZNIA_PUSH_AUDIENCE).
    """

    project: str
    database: str = "(default)"
    artifacts: str = ""
    create: bool = False
    push: str = ""
    push_account: str = ""
    push_audience: str = ""


def from_environment(environ: Mapping[str, str] = os.environ) -> GoogleSettings:
    """Settings of the profile `gcp`. Raises SettingsError with one line a fault."""
    emulated = [name for name in EMULATORS if environ.get(name)]
    project = environ.get("GOOGLE_CLOUD_PROJECT") or (EMULATED_PROJECT if emulated else "")
    create = environ.get("KUZNIA_GCP_CREATE", "").lower()
    push = environ.get("KUZNIA_PUSH_ENDPOINT", "").rstrip("/")
    faults = []
    if not project:
        faults.append("GOOGLE_CLOUD_PROJECT is not set; it should be the id of a Google Cloud project")
    if len(emulated) == 1:
        other = next(name for name in EMULATORS if name not in emulated)
        faults.append(f"{emulated[0]} is set and {other} is not; set both, or neither")
    if create not in _FLAGS:
        faults.append(f"KUZNIA_GCP_CREATE is {create!r}; it should be 1 or 0")
    if push and not push.startswith(("https://", "http://")):
        faults.append(
            f"KUZNIA_PUSH_ENDPOINT is {push!r}; it should be a URL such as https://kuznia.example.com/push"
        )
    if bool(environ.get("KUZNIA_PUSH_ACCOUNT")) != bool(environ.get("KUZNIA_PUSH_AUDIENCE")):
        faults.append(
            "KUZNIA_PUSH_ACCOUNT and KUZNIA_PUSH_AUDIENCE belong together: anybody can have Google make a token for"
            " any audience, so only the account says who pushes; set both, or neither"
        )
    if faults:
        raise SettingsError("\n".join(faults))
    return GoogleSettings(
        project=project,
        database=environ.get("KUZNIA_FIRESTORE_DATABASE") or "(default)",
        artifacts=environ.get("KUZNIA_ARTIFACTS", ""),
        create=_FLAGS[create] or bool(emulated),
        push=push,
        push_account=environ.get("KUZNIA_PUSH_ACCOUNT", ""),
        push_audience=environ.get("KUZNIA_PUSH_AUDIENCE", ""),
    )
