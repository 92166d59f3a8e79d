"""A port for a server that starts in a moment."""

from __future__ import annotations

import os
import socket


def free_port(host: str = "127.0.0.1") -> int:
    """A port nobody listens on, kept for about a minute from everybody who asks for any port.

    The server that is meant for it sets SO_REUSEADDR, as servers do, and gets it; whoever asks the
    system for any port, to listen on or to connect from, gets another one, for a connection to the
    port has just been closed at this end (TIME_WAIT). Where the system has no such rule the port is
    only free at this moment.
    """
    with socket.socket() as listening:
        if os.name != "posix":
            listening.bind((host, 0))
            return int(listening.getsockname()[1])
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, 0))
        listening.listen(1)
        port = int(listening.getsockname()[1])
        with socket.create_connection((host, port)) as other:
            accepted, _ = listening.accept()
            accepted.close()
            other.recv(1)
        return port


def free_ports(count: int) -> list[int]:
    """Ports on the loopback address, all different; see `free_port`."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)
