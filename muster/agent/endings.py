"""How a conversation may end, and what comes next: one table, no I/O and no clock.

What the server closed a socket with is decided by `muster.wire.closing`, the table both ends read.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from muster.agent.conversation import Moving, Refused, Then
from muster.agent.trouble import Trouble
from muster.wire.closing import retry_policy


class Lost(Struct, frozen=True):
    """There was no connection, or there is none any more; `detail` is what the system said."""

    trouble: Trouble
    detail: str


class ClosedBy(Struct, frozen=True):
    """The server closed the socket."""

    code: int
    reason: str


class Renewing(Struct, frozen=True):
    """The node has to say anew what it is, as a heartbeat can't."""


class Left(Struct, frozen=True):
    """The node left as it was asked to."""


class Removed(Struct, frozen=True):
    """The operator took the node out of the fleet."""


End = Lost | ClosedBy | Refused | Moving | Renewing | Left | Removed


class Wait(Enum):
    """How long before the next life."""

    NONE = "none"
    SOON = "soon"
    BACK_OFF = "back_off"
    ASKED = "asked"


class Stop(Enum):
    """There is no next life."""

    LEFT = "left"
    REFUSED = "refused"


class Again(Struct, frozen=True):
    """There is: after which wait, and what before it.

    `elsewhere`: at the next server, if there are several. `forget`: without the saved identity.
    `mend`: only once the hardware is another.
    """

    wait: Wait
    asked_s: float = 0.0
    elsewhere: bool = False
    forget: bool = False
    mend: bool = False


def what_next(end: End) -> Again | Stop:
    """What follows an end."""
    match end:
        case Lost():
            return Again(Wait.BACK_OFF, elsewhere=True)
        case Moving():
            return Again(Wait.ASKED, asked_s=end.after_s, elsewhere=True)
        case Renewing():
            return Again(Wait.NONE)
        case ClosedBy():
            return _after_close(end.code)
        case Refused():
            return _after_refusal(end)
        case Left():
            return Stop.LEFT
        case Removed():
            return Stop.REFUSED


def _after_close(code: int) -> Again | Stop:
    match retry_policy(code):
        case "never":
            return Stop.REFUSED
        case "jitter":
            return Again(Wait.SOON, elsewhere=True)
        case "backoff" | "none":  # a normal end that was not ours is none we wanted
            return Again(Wait.BACK_OFF, elsewhere=True)


def _after_refusal(refused: Refused) -> Again | Stop:
    match refused.then:
        case Then.NEVER:
            return Stop.REFUSED
        case Then.MEND_HARDWARE:
            return Again(Wait.NONE, mend=True)
        case Then.FORGET:
            return Again(Wait.NONE, forget=True)
        case Then.WAIT:
            return Again(Wait.ASKED, asked_s=refused.after_s or 0.0)
        case Then.AGAIN:
            return Again(Wait.SOON)
        case Then.BACK_OFF | Then.STAY:
            return Again(Wait.BACK_OFF, elsewhere=True)
