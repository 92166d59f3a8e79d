"""Ports for servers that start in a moment."""

from __future__ import annotations

import socket

import pytest

from registry.ports import free_port, free_ports


def test_a_port_is_kept_from_everybody_but_a_server_that_means_it() -> None:
    port = free_port()
    with socket.socket() as somebody, pytest.raises(OSError, match="in use"):
        somebody.bind(("127.0.0.1", port))
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            accepted.close()


def test_all_ports_of_one_asking_differ() -> None:
    assert len(set(free_ports(50))) == 50
