"""What the machine itself says of its graphics cards, whether a driver runs them or not.

This tells "no card" from "no driver", and both from a container that was given no card.
"""

from __future__ import annotations

import sys
from pathlib import Path

NVIDIA = "10de"
AMD = "1002"

_GRAPHICS = ("0x03", "0x12")
"""PCI classes: display controllers, and processing accelerators as some big cards are called."""

_CONTAINER_MARKS = (".dockerenv", "run/.containerenv", "var/run/secrets/kubernetes.io")

if sys.platform == "win32":
    import winreg

    _ENUM = r"SYSTEM\CurrentControlSet\Enum\PCI"
    _DISPLAY_CLASS = "{4d36e968-e325-11ce-bfc1-08002be10318}"

    def cards_on_bus(root: Path, vendor: str) -> list[tuple[str, str | None]] | None:
        """Address and driver (None: none) of each card of a vendor; None if it can't be told.

        Windows remembers every card it has ever seen: one that was taken out is listed too.
        """
        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _ENUM) as devices:
                return [
                    (device, _value(devices, f"{device}\\{instance}", "Service"))
                    for device in _keys(devices)
                    if f"VEN_{vendor.upper()}" in device.upper()
                    for instance in _keys(winreg.OpenKey(devices, device))
                    if _value(devices, f"{device}\\{instance}", "ClassGUID")
                    in (_DISPLAY_CLASS, None)
                ]
        except OSError:
            return None

    def _keys(key: winreg.HKEYType) -> list[str]:
        return [winreg.EnumKey(key, at) for at in range(winreg.QueryInfoKey(key)[0])]

    def _value(key: winreg.HKEYType, path: str, name: str) -> str | None:
        try:
            with winreg.OpenKey(key, path) as inner:
                return str(winreg.QueryValueEx(inner, name)[0])
        except OSError:
            return None
else:

    def cards_on_bus(root: Path, vendor: str) -> list[tuple[str, str | None]] | None:
        """Address and driver (None: none) of each card of a vendor; None if it can't be told."""
        try:
            devices = sorted((root / "sys/bus/pci/devices").iterdir())
        except OSError:
            return None
        return [
            (device.name, driver.resolve().name if (driver := device / "driver").exists() else None)
            for device in devices
            if text(device / "vendor") == f"0x{vendor}"
            and (text(device / "class") or "").startswith(_GRAPHICS)
        ]


def in_container(root: Path) -> bool:
    """Whether this is a container, as far as its marks tell."""
    return any((root / mark).exists() for mark in _CONTAINER_MARKS)


def text(path: Path) -> str | None:
    """The stripped text of a small file, None if it can't be read or says nothing."""
    try:
        return path.read_text(errors="replace").strip() or None
    except OSError:
        return None


def number(path: Path) -> int | None:
    """The whole number in a small file, None if there is none."""
    said = text(path)
    try:
        return None if said is None else int(said)
    except ValueError:
        return None
