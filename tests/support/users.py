"""The store's users as they are shipped in `deploy/store/`, with passwords for a test.

The suite runs as them: gateways and sweepers each as their own, the tests themselves, which do what
either does, as `muster`, who may what the two may together. The default user stays as it is, for
the test's own hand.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

SHIPPED = Path(__file__).parents[2] / "deploy" / "store"
PASSWORD = "a-password-of-a-test"
GATEWAY, SWEEPER, BOTH = "muster-gateway", "muster-sweeper", "muster"
PREFIXES = ("muster", "test", "quick", "swept", "model", "exactly*", "at-once*")
_LOOKING = ("+hgetall", "+xtrim", "+sismember", "+flushall")
"""What only tests ask of a store."""
OF_PROCESS = {"gateway": GATEWAY, "sweeper": SWEEPER}


def shipped(file: str = "users.acl") -> dict[str, list[str]]:
    """The rules of each user of a shipped file, in order."""
    lines = (SHIPPED / file).read_text("utf-8").splitlines()
    return {name: rules for _, name, *rules in (line.split() for line in lines)}


def users(prefixes: Sequence[str] = PREFIXES, file: str = "users.acl") -> dict[str, list[str]]:
    """The shipped users under some prefixes, all with one password."""
    sha = hashlib.sha256(PASSWORD.encode()).hexdigest()
    found = {}
    for name, rules in shipped(file).items():
        with_password = [re.sub(r"^#\w+_SHA256$", f"#{sha}", rule) for rule in rules]
        found[name] = [made for rule in with_password for made in _under(rule, prefixes)]
    return found


def user_file(directory: Path) -> Path:
    """An ACL file for a server of the suite."""
    made = users()
    made["default"] = ["on", "nopass", "~*", "&*", "+@all"]
    grants = [rule for rule in made[SWEEPER] if rule[0] in "~%&+"]
    made[BOTH] = [*made[GATEWAY], *dict.fromkeys(grants), *_LOOKING]
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "users.acl"
    path.write_text("".join(f"user {name} {' '.join(r)}\n" for name, r in made.items()), "utf-8")
    return path


def with_users(directory: Path) -> tuple[str, str]:
    """A server's directive that gives it the shipped users. Their file lies beside its data, which
    may be thrown away."""
    return "--aclfile", str(user_file(directory.with_name(f"{directory.name}-users")))


def as_user(url: str, user: str) -> str:
    """The store's URL for a user of the suite."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{PASSWORD}@{host}"))


def as_process(url: str, module: str) -> str:
    """The store's URL for a process: where the test is the user of both, the process's own."""
    return as_user(url, OF_PROCESS[module]) if urlsplit(url).username == BOTH else url


def _under(rule: str, prefixes: Sequence[str]) -> list[str]:
    sort, named, rest = rule.partition("muster:")
    return [f"{sort}{prefix}:{rest}" for prefix in prefixes] if named else [rule]
