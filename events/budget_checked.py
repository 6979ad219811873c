"""What a training has left of its budget, and of its tenant's hours.

said by: training · heard by: training · subject: runs/<run_id>
"""

from __future__ import annotations

import msgspec

NAME = "budget-checked"


class BudgetChecked(msgspec.Struct, frozen=True, kw_only=True):
    """job: which was looked at. over: what is used up, for a person; empty while there is some left.

    seconds: after which it could be used up. patient: it is looked at again then, whoever else asks for it.
    """

    run_id: str
    job: str
    over: str
    seconds: float
    patient: bool
