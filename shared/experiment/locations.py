"""Data that lies outside the experiment's folder: how its URL is written, and which of them may be read. Pure.

`gs://bucket/…`, `s3://bucket/…`, `artifactory://host/…/repository/…`, `file:///…`, and
`hf://datasets/<organisation>/<name>@<revision>/<file>`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from shared.experiment.faults import shown
from shared.settings import SettingsError

VARIABLE = "KUZNIA_DATA_ROOTS"
TYPES = ("arrow", "csv", "json", "jsonl", "parquet", "txt")  # what LLaMA-Factory opens (its FILEEXT2TYPE)
SCHEMES = ("gs", "s3", "artifactory", "artifactory+http", "file", "hf")
# Whoever names these names a machine of ours: its disk, or the host that its token is shown to.
ROOTED = frozenset({"artifactory", "artifactory+http", "file"})
EXAMPLE = "gs://bucket/folder/train.jsonl"
HUB_EXAMPLE = "hf://datasets/organisation/name@main/train.jsonl"
Wrong = tuple[str, str]  # what is wrong, how to mend it
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_HUB = re.compile(r"datasets/([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})@([^/@]+)/([^@]+)", re.ASCII)
_HOSTS = {
    "gs": re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"),
    "s3": re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
    "artifactory": re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?"),
    "artifactory+http": re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?"),
    "file": re.compile(r""),
    "hf": re.compile(r"datasets"),
}
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.IGNORECASE)
_LONGEST = 1024


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """A URL's parts, without escapes. path: within bucket or host, or the whole path of a file.

    repository, revision: of `hf`, whose path is that of the file in it.
    """

    url: str
    scheme: str
    host: str
    path: str
    repository: str = ""
    revision: str = ""

    @property
    def suffix(self) -> str:
        """`.jsonl`."""
        return f".{self.path.rsplit('.', 1)[-1]}"


def is_location(text: str) -> bool:
    """Whether it is a URL at all, of whichever scheme.

    >>> [is_location(text) for text in ("data/a.json", "gs://bucket/a.json", "ftp://host/a.json")]
    [False, True, True]
    """
    return bool(_URL.match(text))


def located(url: str) -> Location:
    """The parts of a URL that `wrong_with` finds nothing wrong with."""
    scheme, rest = _split(url)
    if scheme == "hf" and (found := _HUB.fullmatch(rest)):
        return Location(
            url=url,
            scheme=scheme,
            host="datasets",
            path=_decoded(found[3]),
            repository=found[1],
            revision=_decoded(found[2]),
        )
    host, slash, path = rest.partition("/")
    return Location(
        url=url, scheme=scheme, host=host, path=_decoded(slash + path if scheme == "file" else path)
    )


def wrong_with(url: str, roots: Iterable[str] | None) -> list[Wrong]:
    """All that is wrong with it. roots: of `roots_of`; None where they are not known, and so not asked for."""
    found = _URL.match(url)
    scheme = found[1].lower() if found else ""
    if scheme not in SCHEMES:
        mend = f"put the file into a store and write such as {EXAMPLE}, or {HUB_EXAMPLE}"
        return [(f"is of the scheme `{shown(scheme)}`, which is not read", mend)]
    wrong = [*_spelling(url), *_form(url)]
    if not wrong and roots is not None:
        wrong += _outside(url, tuple(roots))
    return wrong


def sha256_of(value: object) -> str | None:
    """The 64 digits of a written `sha256`, in lower case; empty where there is none, None where it is no such."""
    if value is None or value == "":
        return ""
    found = _SHA256.fullmatch(value.strip()) if isinstance(value, str) else None
    return found[1].lower() if found else None


def roots_of(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """KUZNIA_DATA_ROOTS: URLs of folders, with commas or spaces between. Raises SettingsError, a line a fault."""
    roots = tuple(root.rstrip("/") for root in re.split(r"[,\s]+", environ.get(VARIABLE, "")) if root)
    faults = [f"{VARIABLE} names {root!r}, {fault}" for root in roots if (fault := _root_fault(root))]
    if faults:
        raise SettingsError("\n".join(faults))
    return roots


def _root_fault(root: str) -> str:
    if not is_location(root) or _split(root)[0] not in SCHEMES:
        return "which should be a URL such as file:///srv/data or gs://bucket/folder"
    scheme, rest = _split(root)
    if scheme == "file" and not rest.startswith("/"):
        return "which should have three slashes and a whole path, or would open the whole disk"
    wrong = [what for what, _ in _spelling(f"{root}/x")]
    return f"which {wrong[0]}" if wrong else ""


def _spelling(url: str) -> Iterator[Wrong]:
    scheme, rest = _split(url)
    named = re.sub(r"@[^/]*", "@", rest) if scheme == "hf" else rest  # a revision may hold %2F
    if any(c.isspace() or not c.isprintable() or c == "\\" for c in url):
        yield "holds spaces, backslashes or characters that cannot be printed", "write a space as %20"
    if re.search(r"[?#]", rest):
        yield (
            "has a query or a fragment, such as a signed URL has",
            "name the object alone (`?` in its name is %3F, `#` is %23); its rights are the platform's business",
        )
    if re.search(r"[*{}$]|\[|\]", rest):
        yield "is a pattern", "name one file; a data set of several files is several entries"
    if len(rest) > _LONGEST:
        yield f"is longer than {_LONGEST} characters", "shorten the object's name"
    if re.search(r"%(?![0-9A-Fa-f]{2})|%00|%2f|%5c", named, re.IGNORECASE):
        yield "has an escape that is none, or hides a slash", "write %25 for a percent sign"
    segments = _decoded(rest).split("/")[1:]
    if ".." in segments or "." in segments or "" in segments[1 if rest.startswith("//") else 0 :]:
        yield "has a segment that is empty, `.` or `..`", "write the path as the store has it"


def _form(url: str) -> Iterator[Wrong]:
    scheme, rest = _split(url)
    host = rest.partition("/")[0]
    if "@" in host:
        yield (
            "carries a user or password",
            "remove them, and revoke the password: reading is by the platform's account",
        )
    elif not _HOSTS[scheme].fullmatch(host):
        yield f"does not begin as {scheme}:// does", f"write such as {_example(scheme)}"
    elif scheme == "hf" and not _HUB.fullmatch(rest):
        yield "is no file of a data set at a revision", f"write such as {HUB_EXAMPLE}"
    elif rest.endswith("/") or "/" not in rest:
        yield "names no file", f"write such as {_example(scheme)}"
    name = rest.rsplit("/", 1)[-1]
    if "." not in name or name.rsplit(".", 1)[-1] not in TYPES:
        yield "is of a type that LLaMA-Factory does not read", f"take one of {', '.join(TYPES)}"


def _outside(url: str, roots: tuple[str, ...]) -> Iterator[Wrong]:
    """Where roots of a scheme are named, all of that scheme lies below them."""
    scheme, rest = _split(url)
    known = [root for root in roots if _split(root)[0] == scheme]
    if not known and scheme not in ROOTED:
        return
    ends = ("/", "@") if scheme == "hf" else ("/",)
    if not any(_plain(rest).startswith(_plain(_split(root)[1]) + end) for root in known for end in ends):
        there = ", ".join(known) or f"none of {scheme}:// is"
        yield (
            f"does not lie below an allowed root ({there})",
            f"move the file there, or ask the operator for it ({VARIABLE})",
        )


def _plain(rest: str) -> str:
    """To compare by: without escapes, the host in lower case."""
    host, slash, path = rest.partition("/")
    return host.lower() + slash + _decoded(path)


def _example(scheme: str) -> str:
    return {
        "file": "file:///srv/data/train.jsonl",
        "hf": HUB_EXAMPLE,
        "artifactory": "artifactory://host/artifactory/repository/train.jsonl",
        "artifactory+http": "artifactory+http://host/artifactory/repository/train.jsonl",
    }.get(scheme, f"{scheme}://bucket/folder/train.jsonl")


def _split(url: str) -> tuple[str, str]:
    found = _URL.match(url)
    return (found[1].lower(), found[2]) if found else ("", url)


def _decoded(text: str) -> str:
    """Without `%xx`. Not by urllib: decisions import this, and import no I/O."""
    content = re.sub(
        rb"%([0-9A-Fa-f]{2})", lambda found: bytes.fromhex(found[1].decode()), text.encode("utf-8", "replace")
    )
    return content.decode("utf-8", "replace")
