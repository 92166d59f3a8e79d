"""A place held on a machine for one job."""

from __future__ import annotations

import logging

from muster.client.answers import Chosen, Hold
from muster.client.errors import MusterError, UnexpectedAnswerError

logger = logging.getLogger("muster.client")

HOLD_MS = 30_000


class Held:
    """A machine with a place for the job about to come. `id` is the hold's, `request_id` the
    request's: the machine names either as `job_id` when the job has ended."""

    def __init__(self, node: Chosen, hold: Hold, request_id: str) -> None:
        self.node = node
        self.id = hold.id
        self.expires = hold.expires
        self.request_id = request_id
        self.kept = False

    @property
    def node_id(self) -> str:
        """The machine's."""
        return self.node.node_id

    def keep(self) -> None:
        """Leaves the place held at the end of the `with` block: the job is on its way, and the hold
        ends with it."""
        self.kept = True


def held(found: tuple[Chosen, ...], request_id: str, server: str) -> Held:
    """What a selection held. Raises UnexpectedAnswerError if it held nothing."""
    if not found or found[0].hold is None:
        raise UnexpectedAnswerError(server, 200, "a held place")
    return Held(found[0], found[0].hold, request_id)


def could_not_give_back(held: Held, error: MusterError) -> None:
    """The job has ended and must not fail for this: the hold ends by itself in time."""
    logger.warning("the hold %s could not be given back and ends by itself: %s", held.id, error)
