"""Secrets and namespaces as Helm and kubectl send them: an envelope around a Protobuf message."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from tests.deploy.chart import Document

MAGIC = b"k8s\0"


def decoded(body: bytes) -> Document:
    """The object. Raises AssertionError for another kind."""
    assert body.startswith(MAGIC), body[:8]
    envelope = dict(_fields(body[len(MAGIC) :]))
    kind = dict(_fields(envelope[1]))
    name = kind[2].decode()
    assert name in ("Secret", "Namespace"), kind
    found: Document = {"apiVersion": "v1", "kind": name, "metadata": {}}
    for number, value in _fields(envelope[2]):
        if number == 1:
            found["metadata"] = _metadata(value)
        elif name == "Namespace":
            continue
        elif number == 2:
            found.setdefault("data", {})
            key, content = _entry(value)
            found["data"][key] = base64.b64encode(content).decode()
        elif number == 3:
            found["type"] = value.decode()
    return found


def _metadata(message: bytes) -> Document:
    meta: Document = {"labels": {}, "annotations": {}}
    for number, value in _fields(message):
        if number in (1, 3):
            meta[{1: "name", 3: "namespace"}[number]] = value.decode()
        elif number in (11, 12):
            name, content = _entry(value)
            meta[{11: "labels", 12: "annotations"}[number]][name] = content.decode()
    return meta


def _entry(message: bytes) -> tuple[str, bytes]:
    """A map's entry."""
    pair = dict(_fields(message))
    return pair[1].decode(), pair.get(2, b"")


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """A message's fields that have a length; the others are passed over."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == 0:
            _, at = _varint(message, at)
            continue
        assert key & 7 == 2, key
        length, at = _varint(message, at)
        yield key >> 3, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
