"""What the post-receive hook runs: each pushed branch as a signed GitHub push, to the platform's webhook.

Only the standard library and our secrets: a hook must not make a push wait.
"""

from __future__ import annotations

import getpass
import hashlib
import hmac
import json
import sys
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from shared.secrets import webhook_secret

TIMEOUT_SECONDS = 10
LATER = "kuznia: {why}; the push is kept in Git and will be found when the platform is up"


def main(arguments: list[str], lines: list[str]) -> int:
    """arguments: home, repository. lines: `<old> <new> <ref>`. Always 0: the push itself has happened."""
    home, repository = Path(arguments[0]), arguments[1]
    try:
        console = json.loads((home / "endpoints.json").read_text())["console"]
    except (OSError, ValueError, LookupError):
        print(LATER.format(why="the platform is not up"))
        return 0
    for line in lines:
        before, after, reference = line.split()
        print(f"kuznia: {reference}: {deliver(console, home, repository, (before, after, reference))}")
    return 0


def deliver(console: str, home: Path, repository: str, push: tuple[str, str, str]) -> str:
    """Send one push; what the platform answered, in words."""
    before, after, reference = push
    body = json.dumps(
        {
            "ref": reference,
            "before": before,
            "after": after,
            "repository": {"full_name": repository},
            "pusher": {"name": getpass.getuser()},
        }
    ).encode()
    signature = hmac.new(webhook_secret(home, repository), body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": str(uuid.uuid4()),
        "X-Hub-Signature-256": f"sha256={signature}",
    }
    request = urllib.request.Request(f"{console}/webhooks/github", body, headers)  # noqa: S310 - our own console
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
            answer = json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return f"refused ({error.code}): {error.read().decode(errors='replace')}"
    except OSError as error:
        return LATER.format(why=f"the platform does not answer ({error})")
    return "accepted" if "accepted" in answer else str(answer.get("ignored", answer))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdin.read().splitlines()))
