"""Writing a commit's status to its forge: where the repository has a token for it, and only then."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from services.status.decide import Verdict
from services.status.forges import POSTS, Said, already_said
from shared.errors import Retry
from shared.identity import workload_name
from shared.record import Do, Record
from shared.service import Effect, Ports, Speech
from shared.web.asking import Reply, ask, retry_after

MOST_PAUSE = 3600.0
log = logging.getLogger("kuznia.status")


def effects(ports: Ports) -> Mapping[str, Effect]:
    """`write`: one request; saying the same again changes nothing."""

    def write(do: Do, _record: Record) -> Sequence[Speech]:
        verdict = msgspec.convert(do.arguments, Verdict)
        source = _source(ports, verdict)
        if source is None:
            return []
        repository = ports.store.load(f"repositories/{source['repository']}").data
        token = _token(repository)
        if token and not _is_over(ports, verdict):
            _write(ports, repository, token, _said(verdict, source, repository))
        return []

    return {"write": write}


def _source(ports: Ports, verdict: Verdict) -> dict[str, Any] | None:
    """Where the run came from, with its `run`; None where nothing is known of it."""
    run = verdict.run or ports.store.load(f"models/{verdict.of}").data.get("run_id", "")
    source = ports.store.load(f"runs/{run}").data.get("source") if run else None
    return {**source, "run": run} if source else None


def _is_over(ports: Ports, verdict: Verdict) -> bool:
    """Whether a word of the run comes late: its version has been spoken of since. A version that another run has made
    is none of its own: that it is taken is just what the author has to read.
    """
    model = ports.store.load(f"runs/{verdict.run}").data.get("model")
    if verdict.of != verdict.run or not model:
        return False
    key = f"{model['model_id']}@{model['version']}"
    made_by = ports.store.load(f"models/{key}").data.get("run_id", verdict.run)
    return bool(made_by == verdict.run and ports.store.load(f"statuses/{key}").revision)


def _token(repository: Mapping[str, Any]) -> str:
    """From the file that `kuznia hook connect --token-file` named; read each time, for it may be rotated."""
    path = repository.get("token_file", "")
    if not path:
        return ""
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        log.warning("no status is written, for %s cannot be read: %s", path, error)
        return ""


def _said(verdict: Verdict, source: Mapping[str, Any], repository: Mapping[str, Any]) -> Said:
    experiment = str(source["experiment"])
    console = str(repository.get("console", "")).rstrip("/")
    return Said(
        repository=str(source["repository"]),
        commit=str(source["commit"]),
        state=verdict.state,
        words=verdict.words,
        context="kuznia" if experiment == "." else workload_name("kuznia", experiment.replace("/", "-")),
        link=f"{console}/runs/{source['run']}",
    )


def _write(ports: Ports, repository: Mapping[str, Any], token: str, said: Said) -> None:
    """Raises Retry where the forge may take it later; a refusal is told in the log and is the end of it.

    A dead letter would stand for something that an operator has to do for the platform to go on; a revoked
    token is none of that, and the next status tells of it again.
    """
    forge = str(repository["forge"])
    post = POSTS[forge](str(repository["api"]), token, said)
    reply = ask("POST", post.url, post.headers, post.body)
    if 200 <= reply.status < 300 or already_said(forge, reply.status, reply.body):
        return
    pause = retry_after(reply.headers, ports.clock.now())
    if _is_passing(reply):
        capped = None if pause is None else min(pause, MOST_PAUSE)
        raise Retry(f"{forge} answered {reply.status} to the status of {said.commit}", after=capped)
    log.warning(
        "%s took no status of %s@%s (%d): %s",
        forge,
        said.repository,
        said.commit,
        reply.status,
        reply.body[:300].decode(errors="replace"),
    )


def _is_passing(reply: Reply) -> bool:
    """A fault of the forge's own, or too many requests (which GitHub also says with 403)."""
    limited = "retry-after" in reply.headers or reply.headers.get("x-ratelimit-remaining") == "0"
    return reply.status >= 500 or reply.status in (408, 429) or (reply.status == 403 and limited)
