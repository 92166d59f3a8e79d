"""An operator's labels: what a change makes of them, and what is no label. Pure."""

from __future__ import annotations

from collections.abc import Mapping

LABELS_MOST = 32
LABEL_BYTES_MOST = 256


def changed(labels: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """The labels after some changes, of which None takes one away.

    Raises ValueError naming the label that is none, or the first that is one too many."""
    made = dict(labels)
    for name, value in changes.items():
        _check(name, value)
        if value is None:
            made.pop(name, None)
        else:
            made[name] = value
    for name in list(made)[LABELS_MOST:]:
        raise ValueError(f"label {_short(name)}: a node has at most {LABELS_MOST} of an operator")
    return made


def _check(name: str, value: str | None) -> None:
    if not name:
        raise ValueError("label '': its name is empty")
    for what, text in (("name", name), ("value", value or "")):
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:
            raise ValueError(f"label {_short(name)}: its {what} is no Unicode text") from error
        if size > LABEL_BYTES_MOST:
            raise ValueError(
                f"label {_short(name)}: its {what} has {size} bytes, the most is {LABEL_BYTES_MOST}"
            )


def _short(name: str) -> str:
    return ascii(name if len(name) <= 64 else f"{name[:64]}…")
