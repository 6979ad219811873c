"""Senders that are Google's own, such as Eventarc with a bucket's word: known by a service account's OIDC token."""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

from shared.errors import Reject
from shared.ports.store import Store
from shared.record import Record

_ACCOUNT = re.compile(r"[a-z0-9._-]+@[a-z0-9.-]+\.gserviceaccount\.com")
Certificates = Callable[[], Mapping[str, str]]


def faults(account: str, audience: str) -> list[str]:
    """What is wrong with the account and the audience of a sender, a line each."""
    found = []
    if not _ACCOUNT.fullmatch(account):
        found.append(f"{account!r} is no service account, such as eventarc@project.iam.gserviceaccount.com")
    if not audience:
        found.append("name the audience of its tokens, as Eventarc or Pub/Sub is told it")
    return found


class Google:
    """certificates: Google's, for tests others. Nothing of Google is imported before such a sender is there."""

    def __init__(self, certificates: Certificates | None = None) -> None:
        self._certificates = certificates
        self._lock = threading.Lock()

    def sender(self, store: Store, authorization: str) -> Record | None:
        """Whose token this is, proven; None where it is none of theirs. Raises Retry: no certificates; Reject."""
        for record in store.list("senders", status="ACTIVE"):
            if record.data.get("account") and not self._fault(record.data, authorization):
                return record
        return None

    def _fault(self, data: Mapping[str, Any], authorization: str) -> str:
        try:
            tokens = importlib.import_module("shared.google.tokens")
        except ModuleNotFoundError as error:
            raise Reject(f"senders of Google need {error.name}: pip install 'kuznia[google]'") from error
        with self._lock:
            self._certificates = known = self._certificates or tokens.GoogleCertificates()
        fault: str = tokens.Verifier(data["audience"], data["account"], known).fault(authorization)
        return fault
