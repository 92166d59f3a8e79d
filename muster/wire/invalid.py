"""What a frame may be refused for.

WireError            their mistake, never ours
├── InvalidMessage   a wrong type, a missing field, or no message at all
└── NoGpu            a registration without a usable GPU
"""

from __future__ import annotations

from typing import Any

from muster.wire.errors import ErrorCode

PATH_LENGTH = 128


class WireError(Exception):
    """A frame that can't be accepted.

    `type` is the message's type if it was readable. `unreadable` is True for what is not a
    message at all: not JSON, no object, no `type`.
    """

    code: ErrorCode
    unreadable: bool = False

    def __init__(self, text: str, path: str | None, details: dict[str, Any] | None) -> None:
        super().__init__(text)
        self.path = path
        self.details = details
        self.type: str | None = None


class InvalidMessage(WireError):  # noqa: N818 (named for what it says)
    """A message with a wrong type, a missing field, or not a message at all."""

    code = ErrorCode.INVALID_MESSAGE

    def __init__(
        self,
        path: str | None,
        expected: str,
        got: str | None = None,
        details: dict[str, Any] | None = None,
        *,
        unreadable: bool = False,
    ) -> None:
        path = path if path is None else path[:PATH_LENGTH]
        self.expected = expected
        self.got = got
        self.unreadable = unreadable
        said = {"path": path, "expected": expected, "got": got, **(details or {})}
        super().__init__(
            f"{path or 'message'}: expected {expected}" + (f", got {got}" if got else ""),
            path,
            {key: value for key, value in said.items() if key == "path" or value is not None},
        )


class NoGpu(WireError):  # noqa: N818
    """A registration without a usable GPU. Its details are null, by the protocol."""

    code = ErrorCode.NO_GPU_AVAILABLE

    def __init__(self) -> None:
        super().__init__("no usable GPU", "hardware.gpus", None)
