"""The container's health check: 0 if the process in it answers `/healthz`, else 1.

Another path may be given: `/readyz` asks whether it is ready, and not only whether it lives.
A container runs a gateway or a sweeper and the image cannot know which, so both ports are asked. A
gateway may speak TLS; whose certificate it shows does not matter to one who asks it on loopback.
Only the standard library: this runs every ten seconds.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys

TIMEOUT_S = 3.0


def answers(port: int, path: str, *, tls: bool) -> bool:
    """Whether this path on this port of loopback says 200."""
    connection: http.client.HTTPConnection
    if tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=TIMEOUT_S, context=context
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main(path: str = "/healthz") -> int:
    """The exit status."""
    gateway = int(os.environ.get("MUSTER_PORT") or 8080)
    sweeper = int(os.environ.get("MUSTER_SWEEPER_PORT") or 9090)
    tls = bool(os.environ.get("MUSTER_TLS_CERT_FILE"))
    return 0 if answers(gateway, path, tls=tls) or answers(sweeper, path, tls=False) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
