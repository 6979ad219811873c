"""What a path in any artifact store may look like, so that one which is good in one store is good in all."""

from __future__ import annotations

from shared.errors import Reject

LONGEST_PATH = 1024  # bytes
LONGEST_SEGMENT = 255
RESERVED = ".unfinished"


def require_path(path: str) -> str:
    """The path. Raises Reject, naming what is wrong with it."""
    fault = _fault(path, path.split("/"))
    if fault:
        raise Reject(f"artifact path {path!r} {fault}; use relative segments such as 'runs/r-1/config.yaml'")
    return path


def require_prefix(prefix: str) -> str:
    """A folder's or file's path without a last slash; empty is the whole store. Raises Reject."""
    trimmed = prefix.removesuffix("/")
    return require_path(trimmed) if trimmed else ""


def require_deletable(prefix: str) -> str:
    """As `require_prefix`, and not empty. Raises Reject."""
    if not prefix.strip("/"):
        raise Reject("an empty prefix would delete the whole store: name a folder or a file")
    return require_prefix(prefix)


def below(path: str, prefix: str) -> bool:
    """Whether a path is that file, or lies in that folder."""
    return not prefix or path == prefix or path.startswith(f"{prefix}/")


def _fault(path: str, segments: list[str]) -> str:
    if path.startswith("/"):
        return "is absolute"
    if "" in segments:
        return "has an empty segment"
    if ".." in segments or "." in segments:
        return "has a segment '.' or '..'"
    if not path.isprintable():
        return "has characters that cannot be printed"
    long = max(len(segment.encode("utf-8", "surrogatepass")) for segment in segments) > LONGEST_SEGMENT
    if long or len(path.encode("utf-8", "surrogatepass")) > LONGEST_PATH:
        return f"is longer than {LONGEST_PATH} bytes, or {LONGEST_SEGMENT} in one segment"
    return f"begins with {RESERVED!r}, which stores keep for themselves" if segments[0] == RESERVED else ""
