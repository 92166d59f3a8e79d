"""The window of verdicts as rules and people read it: letters, newest first. Pure."""

from __future__ import annotations

from registry.model import Verdict

IN_A_ROW = 3
OF_FIVE = 3


def in_a_row(window: str) -> str:
    """The newest verdicts that count for "in a row": job failures do not."""
    return window.replace(Verdict.JOB_FAILED.value, "")[:IN_A_ROW]


def passes_in_a_row(window: str) -> int:
    """How many of the three passes in a row that make a node ready it has, 0 to 3."""
    row = in_a_row(window)
    return len(row) - len(row.lstrip(Verdict.PASS.value))


def three_pass(window: str) -> bool:
    return passes_in_a_row(window) == IN_A_ROW


def unfit(window: str) -> bool:
    """Three failures in a row, or three of the last five."""
    row = in_a_row(window)
    failed = len(window) - window.count(Verdict.PASS.value)
    return (len(row) == IN_A_ROW and Verdict.PASS.value not in row) or failed >= OF_FIVE
