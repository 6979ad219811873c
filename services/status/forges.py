"""How each forge wants a commit's status to be said. Pure: requests go out elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said. context: which check of the commit; the same again replaces what it said before."""

    repository: str
    commit: str
    state: str
    words: str
    context: str
    link: str


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """A POST of `body` as JSON. headers: with the token."""

    url: str
    headers: dict[str, str]
    body: dict[str, Any]


def _github(api: str, token: str, said: Said) -> Post:
    state = {"PENDING": "pending", "SUCCESS": "success", "FAILURE": "failure"}[said.state]
    return Post(
        url=f"{api}/repos/{quote(said.repository)}/statuses/{said.commit}",
        headers={"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"},
        body={"state": state, "target_url": said.link, "description": said.words, "context": said.context},
    )


def _gitea(api: str, token: str, said: Said) -> Post:
    post = _github(api, token, said)
    return msgspec.structs.replace(post, headers={"Authorization": f"token {token}"})


def _gitlab(api: str, token: str, said: Said) -> Post:
    state = {"PENDING": "pending", "SUCCESS": "success", "FAILURE": "failed"}[said.state]
    return Post(
        url=f"{api}/projects/{quote(said.repository, safe='')}/statuses/{said.commit}",
        headers={"PRIVATE-TOKEN": token},
        body={"state": state, "name": said.context, "target_url": said.link, "description": said.words},
    )


def _bitbucket(api: str, token: str, said: Said) -> Post:
    """Cloud's API, or Server's where the address is one of `/rest`."""
    state = {"PENDING": "INPROGRESS", "SUCCESS": "SUCCESSFUL", "FAILURE": "FAILED"}[said.state]
    cloud = f"{api}/repositories/{quote(said.repository)}/commit/{said.commit}/statuses/build"
    server = f"{api}/build-status/1.0/commits/{said.commit}"
    return Post(
        url=server if urlsplit(api).path.endswith("/rest") else cloud,
        headers={"Authorization": f"Bearer {token}"},
        body={
            "key": said.context[-40:],  # as long as Cloud takes
            "state": state,
            "name": said.context,
            "url": said.link,
            "description": said.words,
        },
    )


POSTS: Mapping[str, Callable[[str, str, Said], Post]] = {
    "github": _github,
    "gitlab": _gitlab,
    "gitea": _gitea,
    "forgejo": _gitea,
    "bitbucket": _bitbucket,
}


def already_said(forge: str, status: int, body: bytes) -> bool:
    """GitLab refuses to say the same state twice; that is what was wanted."""
    return forge == "gitlab" and status == 400 and b"Cannot transition status" in body
