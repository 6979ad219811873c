"""Deliveries by hand: what a forge sends, signed or not, as often as it likes."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from shared.secrets import webhook_secret
from tests.integration.installation import Installation
from tests.integration.repository import NAME

Answer = tuple[int, dict[str, Any]]
ZERO = "0" * 40


def body(after: str, before: str = ZERO, **more: Any) -> bytes:
    """A push payload of GitHub's, as far as it is read."""
    document = {
        "ref": "refs/heads/main",
        "before": before,
        "after": after,
        "repository": {"full_name": NAME},
        "pusher": {"name": "tester"},
    }
    return json.dumps(document | more).encode()


def post(installation: Installation, content: bytes, delivery: str, signature: str = "") -> Answer:
    """POST it to the webhook; status and body of the answer. signature: a right one, if not given."""
    secret = webhook_secret(installation.home, NAME)
    signed = signature or "sha256=" + hmac.new(secret, content, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": signed,
    }
    place = urlsplit(installation.endpoints.console)
    assert place.hostname
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=20)
    try:
        connection.request("POST", "/webhooks/github", content, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()
