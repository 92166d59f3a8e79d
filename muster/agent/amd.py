"""AMD's cards as Linux shows them in sysfs, by the kernel's own driver (amdgpu).

A graphics part of a processor has less than 2 GiB of its own and is not offered. Names come from
`amdsmi` where that can be imported, else from the card, else from the system's list of PCI ids.
"""

from __future__ import annotations

import errno
import os
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from muster.agent import bus
from muster.agent.bus import number, text
from muster.agent.causes import NoGpuCause, NoGpuError
from muster.agent.facts import CardFound, CardReading, CardWanted, Source

SMALLEST_BYTES = 2 * 1024**3

_ID_LISTS = ("usr/share/hwdata/pci.ids", "usr/share/misc/pci.ids", "usr/share/pci.ids")
_CARD = re.compile(r"card\d+")
_GONE = {errno.ENODEV, errno.ENOENT, errno.EIO, errno.ENXIO}


class Amd:
    """sysfs as a source of cards."""

    name: Source = "amd"

    def __init__(self, root: Path) -> None:
        self._root = root

    def find(self) -> list[CardFound]:
        """All cards that can be used; raises NoGpuError if there is none."""
        devices = self._devices()
        large = [
            at for at in devices if (number(at / "mem_info_vram_total") or 0) >= SMALLEST_BYTES
        ]
        usable = [device for device in large if self._permitted(device)]
        if usable:
            names = _names_by_amdsmi()
            return [
                {
                    "name": names.get(device.resolve().name) or self._name(device),
                    "memory_bytes": _memory(device),
                    "uuid": text(device / "unique_id"),
                    "driver_version": text(self._root / "sys/module/amdgpu/version"),
                    "index": devices.index(device),
                }
                for device in usable
            ]
        if large:
            raise NoGpuError(NoGpuCause.NO_PERMISSION, "the card's /dev/dri/renderD… can't be used")
        if devices:
            raise NoGpuError(NoGpuCause.NO_GPU, "AMD graphics with less than 2 GiB of their own")
        cards = bus.cards_on_bus(self._root, bus.AMD)
        if cards:
            addresses = ", ".join(address for address, _ in cards)
            raise NoGpuError(
                NoGpuCause.NO_DRIVER, f"AMD card at {addresses}; no amdgpu driver holds it"
            )
        raise NoGpuError(NoGpuCause.NO_GPU, "no AMD card was seen in this machine")

    def begin(self) -> None:
        """Nothing needs to be made ready."""

    def read(self, wanted: CardWanted) -> CardReading:
        """How a card is now."""
        device = self._device(wanted)
        if device is None:
            return {"fault": "gpu_lost"}
        reading = CardReading()
        try:
            reading["memory_used_bytes"] = int((device / "mem_info_vram_used").read_text())
        except OSError as error:
            return {"fault": "gpu_lost" if error.errno in _GONE else "driver_error"}
        except ValueError:
            return {"fault": "driver_error"}
        if (total := number(device / "mem_info_vram_total")) is not None:
            reading["memory_total_bytes"] = total
        if (busy := number(device / "gpu_busy_percent")) is not None:
            reading["busy_percent"] = busy
        for sensor in sorted((device / "hwmon").glob("hwmon*")):
            if (now := number(sensor / "temp1_input")) is not None:
                critical = number(sensor / "temp1_crit")
                reading["temperature_c"] = now / 1000
                reading["hot"] = critical is not None and now >= critical > 0
                break
        errors = re.search(r"ue: *(\d+)", text(device / "ras/umc_err_count") or "")
        if errors is not None:
            reading["ecc_uncorrected"] = int(errors[1])
        return reading

    def _devices(self) -> list[Path]:
        """Every card that amdgpu runs, in the kernel's order."""
        try:
            entries = list((self._root / "sys/class/drm").iterdir())
        except OSError:
            return []
        cards = [entry for entry in entries if _CARD.fullmatch(entry.name)]
        cards.sort(key=lambda card: int(card.name.removeprefix("card")))
        return [
            device
            for device in (card / "device" for card in cards)
            if text(device / "vendor") == f"0x{bus.AMD}"
            and (device / "mem_info_vram_total").exists()
        ]

    def _device(self, wanted: CardWanted) -> Path | None:
        for at, device in enumerate(self._devices()):
            if wanted["uuid"] is None:
                if at == wanted["index"]:
                    return device
            elif text(device / "unique_id") == wanted["uuid"]:
                return device
        return None

    def _permitted(self, device: Path) -> bool:
        """Whether programs of this user may work with the card."""
        nodes = [self._root / "dev/dri" / node.name for node in (device / "drm").glob("renderD*")]
        return any(os.access(node, os.R_OK | os.W_OK) for node in nodes)

    def _name(self, device: Path) -> str:
        told = text(device / "product_name")
        if told is not None:
            return told
        chip = (text(device / "device") or "").removeprefix("0x")
        return self._name_of_chip(chip) or f"AMD GPU {chip}".strip()

    def _name_of_chip(self, chip: str) -> str | None:
        """The name in the system's list: `\t744c  Navi 31 [Radeon RX 7900 XT]` under AMD."""
        for path in _ID_LISTS:
            listed = text(self._root / path)
            if listed is None:
                continue
            vendor = re.search(rf"^{bus.AMD}\s.*\n((?:[\t#].*\n?)*)", listed, re.MULTILINE)
            line = re.search(rf"^\t{chip}\s+(.+)$", vendor[1], re.MULTILINE) if vendor else None
            if line is not None:
                inside = re.search(r"\[(.+)\]", line[1])
                return f"AMD {inside[1] if inside else line[1]}"
        return None


def _memory(device: Path) -> int:
    return number(device / "mem_info_vram_total") or 0


def _names_by_amdsmi() -> dict[str, str]:
    """PCI address → the name it is sold by."""
    try:
        amdsmi: Any = import_module("amdsmi")  # it loads AMD's libraries, so not for others
    except Exception:  # noqa: BLE001 - it raises what it likes when the libraries don't fit
        return {}
    names: dict[str, str] = {}
    try:
        amdsmi.amdsmi_init()
        for handle in amdsmi.amdsmi_get_processor_handles():
            address = amdsmi.amdsmi_get_gpu_device_bdf(handle)
            names[str(address)] = str(amdsmi.amdsmi_get_gpu_asic_info(handle)["market_name"])
    except Exception:  # noqa: BLE001 - as above: names are no reason to lose a card
        return names
    return names
