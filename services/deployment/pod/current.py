"""Which version of a model is current, and where its weights lie: asked of the registry's REST API."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec

from shared.errors import Reject, Retry
from shared.web.asking import ask


class Current(msgspec.Struct, frozen=True, kw_only=True):
    """url: folder in the artifact store. manifest_digest: `sha256:<hex>`, of what was registered."""

    version: str
    url: str
    manifest_digest: str
    base_model: str = ""


def current(registry: str, model_id: str, version: str = "") -> Current:
    """The live version, or the one that is named. registry: the console's address.

    Raises Reject where the registry has no such model, or its answer is none of a registry; Retry where it
    does not answer, or no version is live yet.
    """
    base = f"{registry.rstrip('/')}/api/v1/models/{quote(model_id, safe='')}"
    name = version or _live(_asked(base), model_id)
    detail = _asked(f"{base}/versions/{quote(name, safe='')}")
    try:
        known = {"url": detail["artifact_path"], "manifest_digest": detail["manifest_digest"]}
        return msgspec.convert(
            {"version": name, "base_model": detail.get("base_model") or "", **known}, Current
        )
    except (KeyError, msgspec.ValidationError) as error:
        raise Reject(f"{base}: the answer is none of a registry: {error}") from error


def _live(detail: dict[str, Any], model_id: str) -> str:
    live = detail.get("live")
    if not live:
        raise Retry(f"no version of {model_id} is live yet: deploy one, or name one by model.version")
    return str(live)


def _asked(url: str) -> dict[str, Any]:
    reply = ask("GET", url, {})
    if reply.status == 404:
        raise Reject(f"{url}: {_words(reply.json())}")
    if reply.status != 200:
        raise Retry(f"{url}: the registry answered {reply.status}")
    told = reply.json()
    if not isinstance(told, dict):
        raise Reject(f"{url}: the answer is none of a registry: {str(told)[:80]}")
    return told


def _words(told: Any) -> str:
    """What an error of the registry says; of anybody else's only that it is one."""
    error = told.get("error") if isinstance(told, dict) else None
    if not isinstance(error, dict):
        return "not found, and not by a registry: is this the console's address?"
    return f"{error.get('what', 'not found')}; {error.get('mend', '')}".rstrip("; ")
