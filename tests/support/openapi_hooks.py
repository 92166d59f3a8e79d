"""What a schema can't tell those who generate requests from it. Loaded by schemathesis itself.

A cursor is whatever an earlier page gave: `cursor` generates such. And which `sort` a cursor goes
with can't be said for query parameters, each of which has a schema of its own: where both were
generated, the cursor is dropped. A label's name or value is limited in bytes, which a schema can't
count: `label` generates such as have few enough. What must be refused is still generated, and still
refused.
"""

from __future__ import annotations

import re
from typing import Any

import schemathesis
from hypothesis import strategies as st

from registry.keys import partition_of

_CURSOR = re.compile(r"[0-9]{1,2}:[A-Za-z0-9._-]{1,64}")


def _cursor(node_id: str) -> str:
    return f"{partition_of(node_id)}:{node_id}"


schemathesis.openapi.format(
    "cursor", st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True).map(_cursor)
)
_IN_A_LINE = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
schemathesis.openapi.format("label", st.text(_IN_A_LINE, max_size=64))


@schemathesis.hook
def before_call(
    _: schemathesis.HookContext, case: schemathesis.Case[Any], __: dict[str, Any]
) -> None:
    """A cursor of the unsorted list is not sent with a sort."""
    query = case.query or {}
    if "sort" in query and _CURSOR.fullmatch(str(query.get("cursor", ""))):
        case.query = {name: value for name, value in query.items() if name != "cursor"}
