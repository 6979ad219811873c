"""Everything that can go wrong, in the four words a handler may use.

KuzniaError
├── Retry(after)     not now: a dependency is down, a precondition has not come yet
├── Reject(cause)    never: the input is wrong, and repeating will not mend it
├── Conflict         somebody else wrote the record first: load again and decide again
└── Unknown          an effect timed out: it may have happened; read back, or repeat under the same name
"""

from __future__ import annotations


class KuzniaError(Exception):
    """The root of our errors."""


class Retry(KuzniaError):
    """Try again later. after: seconds, or None for the host's own backoff."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class Reject(KuzniaError):
    """Repeating cannot mend it. The message says what is wrong, where, and how to mend it."""


class Conflict(KuzniaError):
    """A compare-and-set found another revision than expected."""


class Unknown(KuzniaError):
    """The answer never came, so the effect may or may not have happened."""
