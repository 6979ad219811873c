"""Data that a URL names: fetched by the pod that reads it, and the same bytes in every start of one run.

What was read first is written down beside the run (`<place>/data/<key>.json`, made once). Whoever reads the URL
later for the same run gets these bytes, or a cause.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import msgspec

from shared.errors import Reject
from shared.experiment.locations import Location, located, roots_of, wrong_with
from shared.hub import client
from shared.hub.client import RemoteFile
from shared.hub.download import fetch
from shared.podkit.bases import offline
from shared.podkit.patience import Patience
from shared.ports.artifacts import Artifacts
from shared.settings import SettingsError
from shared.storage import reading


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """What a URL was for this run. digest: `sha256:<hex>`. size: bytes. revision: commit of a hub's data set."""

    url: str
    digest: str
    size: int
    revision: str = ""

    @property
    def read(self) -> str:
        """The URL as it was read: of a hub's data set at its commit, whatever branch was asked for."""
        if not self.revision:
            return self.url
        place = located(self.url)
        return f"hf://datasets/{place.repository}@{self.revision}/{quote(place.path)}"


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """A file on this machine, and what it is."""

    path: Path
    pin: Pin


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """sha256: as the committed files say it, 64 digits, or empty. most: bytes that it may have, 0 for any."""

    url: str
    sha256: str = ""
    most: int = 0


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """place: of the run in the artifact store. folder: on this machine, kept from start to start. check: may raise."""

    artifacts: Artifacts
    place: str
    folder: Path
    check: Callable[[], None]

    def bring(self, wanted: Wanted) -> Fetched:
        """The file, fetched unless it is here. Raises Reject (not allowed, not there, other bytes), Retry, OSError."""
        place = _allowed(wanted.url)
        pin = self._pin(wanted.url)
        folder = self.folder / _key(wanted.url)
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"data{place.suffix}"
        if pin and target.exists() and _digest(target) == pin.digest:
            _require(wanted, pin, pin)
            return Fetched(path=target, pin=pin)
        arrived, revision = self._fetch(place, folder, pin, wanted)
        found = Pin(url=wanted.url, digest=_digest(arrived), size=arrived.stat().st_size, revision=revision)
        try:
            _require(wanted, found, pin)
            _require(wanted, found, self._keep(found) if pin is None else pin)
        except Reject:
            reading.forget(arrived)
            raise
        arrived.replace(target)
        reading.forget(arrived)
        return Fetched(path=target, pin=pin or found)

    def _fetch(self, place: Location, folder: Path, pin: Pin | None, wanted: Wanted) -> tuple[Path, str]:
        """Where all its bytes are now, and the commit that they are of."""
        if place.scheme == "hf":
            return _from_hub(place, folder, pin, wanted)
        roots = tuple(Path(unquote(urlsplit(root).path)) for root in _roots() if root.startswith("file:"))
        source, name = reading.open_readable(place, roots)
        head = Patience().insist(f"looking at {place.url}", lambda: source.head(name))
        if head:
            _require_size(wanted, head.size)
            if pin and pin.size != head.size:
                raise Reject(_changed(pin, f"has {head.size} bytes"))
        arrived = folder / "arriving"
        reading.bring(place.url, (source, name), arrived, self.check)
        return arrived, ""

    def _pin(self, url: str) -> Pin | None:
        return Patience().insist("reading what the data were", lambda: self._read(url))

    def _read(self, url: str) -> Pin | None:
        try:
            return msgspec.json.decode(self.artifacts.read(self._path(url)), type=Pin)
        except FileNotFoundError:
            return None

    def _keep(self, pin: Pin) -> Pin:
        """What holds from now on: this, or what another pod of the run wrote down first."""

        def create() -> Pin:
            try:
                self.artifacts.create(self._path(pin.url), msgspec.json.encode(pin))
            except Reject:
                return self._read(pin.url) or pin
            return pin

        return Patience().insist("keeping what the data were", create)

    def _path(self, url: str) -> str:
        return f"{self.place}/data/{_key(url)}.json"


def _allowed(url: str) -> Location:
    wrong = wrong_with(url, _roots())
    if wrong:
        raise Reject(f"data {url!r} " + "; ".join(f"{what} ({mend})" for what, mend in wrong))
    return located(url)


def _roots() -> tuple[str, ...]:
    try:
        return roots_of()
    except SettingsError as error:
        raise Reject(str(error)) from error


def _from_hub(place: Location, folder: Path, pin: Pin | None, wanted: Wanted) -> tuple[Path, str]:
    if offline():
        raise Reject(
            f"{place.url} lies on the model hub, which is not asked (HF_HUB_OFFLINE): put the file into a store"
            " (gs://…), or let pods ask the hub with HF_HUB_OFFLINE=0"
        )
    hub, name = client.from_environment(), f"datasets/{place.repository}"
    asked = pin.revision if pin else place.revision
    patience = Patience()
    listing = patience.insist(f"asking for {place.url}", lambda: hub.listing(name, asked))
    known: dict[str, RemoteFile] = {file.path: file for file in listing.files}
    if place.path not in known:
        raise Reject(f"{place.url}: {name} at {listing.commit[:12]} has no file {place.path!r}")
    _require_size(wanted, known[place.path].size)
    arrived = folder / f"arriving-{listing.commit[:12]}"
    if not arrived.exists():  # else an earlier start was killed right after it
        fetch(hub, (name, listing.commit), known[place.path], arrived, patience)
    return arrived, listing.commit


def _require(wanted: Wanted, found: Pin, pin: Pin | None) -> None:
    if wanted.sha256 and found.digest != f"sha256:{wanted.sha256}":
        raise Reject(
            f"{wanted.url} is {found.digest}, and the experiment names sha256:{wanted.sha256}: put that file back, or"
            " correct `sha256` where the new one is meant"
        )
    if pin and found.digest != pin.digest:
        raise Reject(_changed(pin, f"is {found.digest} ({found.size} bytes)"))


def _require_size(wanted: Wanted, size: int) -> None:
    if wanted.most and size > wanted.most:
        raise Reject(
            f"{wanted.url} has {size / 1e6:.0f} MB, and at most {wanted.most / 1e6:.0f} MB are read here:"
            " take fewer rows"
        )


def _changed(pin: Pin, now: str) -> str:
    return (
        f"{pin.url} was changed after this run first read it: it was {pin.digest} ({pin.size} bytes), and {now} now."
        " Put the old object back (a bucket with versions has it) and retry, or push a new run, which reads what"
        " is there"
    )


def _key(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:24]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
