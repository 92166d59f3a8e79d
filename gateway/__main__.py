"""`python -m gateway`: runs a gateway; `python -m gateway settings [--json]` explains it."""

from __future__ import annotations

import os
import sys

from gateway.server import serve
from gateway.settings import GatewaySettings
from registry.settings import SettingsError, load, print_settings, unknown_variables

USAGE = """usage: python -m gateway [--open-api]        run a gateway
       python -m gateway settings [--json]   every setting, its value and where that came from

Settings are environment variables MUSTER_...; SIGTERM drains and stops, a second one stops at once.
--open-api (MUSTER_OPEN_API=true) lets everybody use /v1 without a token; see `muster token --help`.
"""


def main(argv: list[str]) -> int:
    """The exit status."""
    if argv[:1] == ["settings"]:
        return print_settings(GatewaySettings, argv[1:])
    environ = dict(os.environ)
    if argv == ["--open-api"]:
        environ["MUSTER_OPEN_API"] = "true"
    elif argv:
        asked = argv[0] in ("-h", "--help")
        (sys.stdout if asked else sys.stderr).write(USAGE)
        return 0 if asked else 2
    try:
        settings = load(GatewaySettings, environ)
        for warning in unknown_variables(GatewaySettings):
            sys.stderr.write(f"{warning}\n")
        return serve(settings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
