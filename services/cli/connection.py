"""What is asked of whoever connects a forge's repository, and what is wrong with the answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
import msgspec

from services.webhook.forges import FORGES
from shared.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# forge -> where its API lies on a host of one's own; the big ones' own is named below
API_PATHS = {
    "github": "/api/v3",
    "gitlab": "/api/v4",
    "gitea": "/api/v1",
    "forgejo": "/api/v1",
    "bitbucket": "/rest",
}
APIS = {"github.com": "https://api.github.com", "bitbucket.org": "https://api.bitbucket.org/2.0"}


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """See the options. kept: what of it stands in the repository's record; never a secret."""

    forge: str
    branches: tuple[str, ...]
    folders: tuple[str, ...]
    secret: str = ""
    token_file: Path | None = None
    api: str = ""
    console: str = ""
    hook_id: int | None = None

    def kept(self, url: str, settings: Settings) -> dict[str, Any]:
        """Beside url, branches and folders."""
        if self.token_file is None:
            return {"forge": self.forge}
        return {
            "forge": self.forge,
            "token_file": str(self.token_file.absolute()),
            "api": (self.api or default_api(self.forge, url)).rstrip("/"),
            "console": self.console or f"http://{settings.host}:{settings.port}",
            **({"hook_id": self.hook_id} if self.hook_id is not None else {}),
        }


def connection_options(command: F) -> F:
    """The options of `kuznia hook connect`."""
    options = [
        click.option("--forge", type=click.Choice(list(FORGES)), default="github", show_default=True),
        click.option(
            "--branch",
            "branches",
            multiple=True,
            default=("main",),
            show_default=True,
            help="Watched branches.",
        ),
        click.option(
            "--folder", "folders", multiple=True, help="Watched folders; the whole repository, if not given."
        ),
        click.option("--secret", default="", help="The webhook's secret; one is made, if not given."),
        click.option(
            "--token-file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="A file with a token that may write commit statuses; it is read at each use.",
        ),
        click.option("--api", default="", help="The forge's API, where it does not follow from URL."),
        click.option("--console", default="", help="Where people reach this console; statuses link to it."),
        click.option(
            "--hook-id",
            type=int,
            default=None,
            help="GitHub's or GitLab's id of the webhook: failed deliveries are asked for.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def faults(name: str, url: str, connection: Connection) -> list[str]:
    """All that is wrong, a line each."""
    found = []
    if "/" not in name.strip("/"):
        found.append(f"{name!r} is no full name as a forge has it, such as org/repo")
    asked_again = connection.forge in ("github", "gitlab") and connection.token_file is not None
    if connection.hook_id is not None and not asked_again:
        found.append("--hook-id needs --token-file, and GitHub or GitLab: other forges cannot be asked again")
    if connection.token_file is None:
        return found
    api = connection.api or default_api(connection.forge, url)
    if not api:
        found.append(f"where {connection.forge}'s API lies does not follow from {url!r}: name it by --api")
    elif urlsplit(api).scheme != "https" and urlsplit(api).hostname not in LOOPBACK:
        found.append(f"--api {api!r} is not https, and a token must not go over the wire in clear")
    if connection.console and urlsplit(connection.console).scheme not in ("http", "https"):
        found.append(f"--console {connection.console!r} is no http(s):// URL")
    return found


def default_api(forge: str, url: str) -> str:
    """Where the API lies, by the host of the repository's URL; empty where it has none."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not parts.scheme and "@" in url:  # git@host:org/repo.git
        host = url.partition("@")[2].partition(":")[0]
    if not host:
        return ""
    return APIS.get(host) or f"https://{host}{API_PATHS[forge]}"
