"""`python -m gateway.api.asyncapi`: writes docs/asyncapi.json and docs/schemas/.

Both are made from the messages of `muster.wire`. With `--check` nothing is written and the exit
status says whether the files are as they should be.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from muster.wire.asyncapi import document
from muster.wire.schema import FROM_NODES, FROM_SERVERS, frame_schema

DOCS = Path(__file__).resolve().parents[2] / "docs"


def files() -> Mapping[Path, str]:
    """Every file with its text."""
    made = {DOCS / "asyncapi.json": document()}
    for kind in (*FROM_NODES, *FROM_SERVERS):
        made[DOCS / "schemas" / f"{kind}.json"] = frame_schema(kind)
    return {
        path: json.dumps(value, ensure_ascii=False, indent=2) + "\n" for path, value in made.items()
    }


def main(argv: Sequence[str]) -> int:
    changed = {
        path: text
        for path, text in files().items()
        if not path.exists() or path.read_text("utf-8") != text
    }
    if "--check" in argv:
        return int(bool(changed))
    for path, text in changed.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
