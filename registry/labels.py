"""An operator's labels: what a change makes of them, and what is no label. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from muster.wire.registering import IN_A_LINE, LABEL_BYTES_MOST, LABELS_MOST


class LabelError(ValueError):
    """A label that cannot be: which, and what is expected of it."""

    def __init__(self, name: str, expected: str, problem: str) -> None:
        super().__init__(f"label {_short(name)}: {problem}")
        self.name = name
        self.expected = expected


class TooManyLabels(ValueError):  # noqa: N818 (named for what it says)
    """With these a node would have more labels of an operator than it may."""


def changed(labels: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """The labels after some changes, of which None takes one away.

    Raises LabelError for what is no label, TooManyLabels naming the first that is one too many."""
    check(changes)
    made = dict(labels)
    for name, value in changes.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = value
    for name in list(made)[LABELS_MOST:]:
        text = f"label {_short(name)}: a node has at most {LABELS_MOST} of an operator"
        raise TooManyLabels(text)
    return made


def check(changes: Mapping[str, str | None]) -> None:
    """Raises LabelError for the first name or value that no label can have: the rule for a node's
    own labels. Only a name to be taken away may hold anything, as it may have been set before there
    was that rule."""
    for name, value in changes.items():
        if not name:
            raise LabelError(name, "a name", "its name is empty")
        for what, text in (("name", name), ("value", value or "")):
            _check_text(name, what, text)
            if value is not None and not IN_A_LINE.fullmatch(text):
                expected = f"a {what} without control characters"
                raise LabelError(name, expected, f"its {what} holds a control character")


def _check_text(name: str, what: str, text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise LabelError(name, "Unicode text", f"its {what} is no Unicode text") from error
    if size > LABEL_BYTES_MOST:
        raise LabelError(
            name,
            f"a {what} of at most {LABEL_BYTES_MOST} bytes",
            f"its {what} has {size} bytes, the most is {LABEL_BYTES_MOST}",
        )


def _short(name: str) -> str:
    return ascii(name if len(name) <= 64 else f"{name[:64]}…")
