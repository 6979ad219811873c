"""The slots as a record: who takes and gives them back does so by compare-and-set, so that none is taken twice.

`slots/training` holds the ledger. A run is known there under its job's name, and its own record says whether
that job is still wanted: so a word that comes late takes nothing. The ledger is loaded before the run, and
the run gives its slot back after it ended; whoever saw it alive and wrote the ledger was before that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from services.training.queue import Entry, Ledger, Limits, turns
from services.training.usage import by_month
from shared.errors import Conflict, Retry
from shared.ports.clock import Clock
from shared.ports.store import Store
from shared.record import Record

KEY = "slots/training"
INSTALLATION = "_all"
ENDS = frozenset({"REJECTED", "SUCCEEDED", "FAILED"})
TRIES = 20
Word = Literal["granted", "waits", "runs", "over", "stale"]


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What came of asking. granted: it may start. waits: at this place (1 is next) of so many, and why. runs: it
    is known to have started. over: it started and ended before that was said. stale: it is not asked for any
    more. offers: other runs that may start now.
    """

    word: Word
    place: int = 0
    waiting: int = 0
    why: str = ""
    offers: tuple[str, ...] = ()


class Slots:
    """What effects do with the ledger. Each raises Retry where others were always faster."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def take(self, asked: Entry) -> Turn:
        """A slot for this job, or a place in the queue; the same word again is the same slot."""
        for _ in range(TRIES):
            record, known = self._load()
            run = self._store.load(f"runs/{asked.run}")
            word = _known(run, asked.job) or _granted(known, asked)
            if word:
                return Turn(word=word, offers=self._ready(known) if word == "granted" else ())
            ledger = self._with(known, asked, run)
            # The limits are read after the ledger: one set later finds us waiting there.
            if not self._turns(ledger)[asked.run]:
                self._commit(record, ledger.granted(asked.run, self._clock.now()))
                continue
            swept, dead = self._swept(ledger, asked.run)
            reasons = self._turns(swept.but(dead))
            if asked.run not in reasons:
                continue  # it ended since it was loaded: now its own record says so
            if not reasons[asked.run]:
                swept = swept.granted(asked.run, self._clock.now())
            if swept == known:
                return self._waits(asked.run, reasons, self._ready(known, dead))
            self._commit(record, swept)
        raise Retry(f"{KEY}: others were faster {TRIES} times")

    def give_back(self, name: str, job: str) -> tuple[str, ...]:
        """The job has ended; the runs that may start now. Again it is the same answer, with no hour counted twice."""
        for _ in range(TRIES):
            record, known = self._load()
            ledger = known
            if ledger.job(name) == job:
                ledger = self._ended(ledger, self._store.load(f"runs/{name}"))
            swept, dead = self._swept(ledger, "") if ledger.waiting else (ledger, ())
            if swept == known or self._commit(record, swept):
                return self._ready(swept, dead)
        raise Retry(f"{KEY}: others were faster {TRIES} times")

    def left(self, tenant: str) -> tuple[float | None, float]:
        """GPU hours that a tenant has left in this month (None: any number), and how many go in an hour now."""
        _, ledger = self._load()
        limit = self._limits(tenant).gpu_hours
        going = sum(entry.gpus for entry in ledger.running.values() if entry.tenant == tenant)
        return (None if limit is None else limit - ledger.spent(tenant, self._clock.now())), float(going)

    def _with(self, ledger: Ledger, asked: Entry, run: Record) -> Ledger:
        """With this one among those that wait, and without the last job of its run, if that still has a slot."""
        if ledger.job(asked.run) == asked.job:
            return ledger
        return (self._ended(ledger, run) if ledger.job(asked.run) else ledger).asked(asked)

    @staticmethod
    def _waits(run: str, reasons: Mapping[str, str], offers: tuple[str, ...]) -> Turn:
        place = list(reasons).index(run) + 1
        return Turn(word="waits", place=place, waiting=len(reasons), why=reasons[run], offers=offers)

    def _ready(self, ledger: Ledger, dead: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Who may start now. A dead one holds nobody up, and is called all the same: it may be coming back."""
        alive, everybody = self._turns(ledger.but(dead)), self._turns(ledger)
        called = [run for run, why in alive.items() if not why]
        return (*called, *(run for run in dead if not everybody[run]))

    def _turns(self, ledger: Ledger) -> Mapping[str, str]:
        tenants = {entry.tenant for entry in ledger.waiting.values()}
        limits = {tenant: self._limits(tenant) for tenant in ("", *sorted(tenants))} if tenants else {}
        return turns(ledger, limits, self._clock.now())

    def _limits(self, tenant: str) -> Limits:
        return msgspec.convert(self._store.load(f"quotas/{tenant or INSTALLATION}").data, Limits)

    def _ended(self, ledger: Ledger, run: Record) -> Ledger:
        job = ledger.job(run.name)
        gpus, attempts = run.data.get("gpus", 1), run.data.get("attempts", [])
        return ledger.ended(run.name, by_month(attempts, gpus, self._clock.now(), job))

    def _swept(self, ledger: Ledger, asks: str) -> tuple[Ledger, tuple[str, ...]]:
        """Without the runs that are over; and who of those that wait has died. Such a one keeps its place: once it is
        redriven it asks again. Looked at only where somebody has to wait.
        """
        dead: list[str] = []
        for name in [*ledger.running, *ledger.waiting]:
            run = self._store.load(f"runs/{name}")
            if run.status in ENDS:
                ledger = self._ended(ledger, run)
            elif run.dead is not None and name in ledger.waiting and name != asks:
                dead.append(name)
        return ledger, tuple(dead)

    def _load(self) -> tuple[Record, Ledger]:
        record = self._store.load(KEY)
        return record, msgspec.convert(record.data, Ledger)

    def _commit(self, record: Record, ledger: Ledger) -> bool:
        now = self._clock.now()
        data = msgspec.to_builtins(ledger)
        written = msgspec.structs.replace(
            record, status="OPEN", data=data, created_at=record.created_at or now, updated_at=now
        )
        try:
            self._store.commit(written)
        except Conflict:
            return False
        return True


def _known(run: Record, job: str) -> Word | None:
    """What the run itself knows of its job; None while it waits for its start."""
    ended, announced = run.status in ENDS, run.data.get("announced") == job
    if run.data.get("job") != job or (ended and announced):
        return "stale"
    if announced:
        return "runs"
    return "over" if ended else None


def _granted(ledger: Ledger, asked: Entry) -> Word | None:
    entry = ledger.running.get(asked.run)
    return "granted" if entry and entry.job == asked.job else None
