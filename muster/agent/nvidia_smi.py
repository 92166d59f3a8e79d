"""NVIDIA's cards by the program nvidia-smi: for machines where NVML can't be loaded from Python.

Every look starts a process, so it is asked less often. It knows no Xids. Cards in MIG mode are
listed by `-L` alone, with the size in the profile's name and no figures of their slices.
"""

from __future__ import annotations

import re
from pathlib import Path

from muster.agent import nvidia
from muster.agent.causes import NoGpuCause, NoGpuError
from muster.agent.commands import Output, output_of
from muster.agent.facts import CardFound, CardReading, CardWanted, Source

FIELDS = (
    *("index", "uuid", "name", "memory.total", "memory.used", "utilization.gpu"),
    *("temperature.gpu", "driver_version", "ecc.errors.uncorrected.volatile.total"),
)
NEWER_FIELDS = ("mig.mode.current", "clocks_throttle_reasons.hw_thermal_slowdown")
"""Fields that old drivers refuse the whole question for."""

_BAD_QUESTION = 2
_NONE_LISTED = 6
_MIB = 1024**2
_GIB = 1024**3
_LOST = ("GPU is lost", "fallen off the bus")
_SLICE = re.compile(r"^\s+(MIG .+?)\s+Device\s+\d+:\s+\(UUID: (MIG-[^)]+)\)")
_CARD = re.compile(r"^GPU (\d+): .*\(UUID: (GPU-[^)]+)\)")
_PROFILE_SIZE = re.compile(r"\.(\d+)gb")

Row = dict[str, str]


class NvidiaSmi:
    """nvidia-smi as a source of cards."""

    name: Source = "nvidia-smi"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._rows: dict[str, Row] = {}

    def find(self) -> list[CardFound]:
        """All cards and slices that can be used; raises NoGpuError if there is none."""
        self.begin()
        found: list[CardFound] = []
        for uuid, row in self._rows.items():
            if _fault(row) is not None:
                continue
            size = _number(row.get("memory.total"))
            found.append(
                {
                    "name": row["name"],
                    "memory_bytes": None if size is None else int(size * _MIB),
                    "uuid": uuid or None,
                    "driver_version": _said(row.get("driver_version")),
                    "index": int(row["index"]) if row["index"].isdecimal() else None,
                }
            )
        if found:
            return found
        if self._rows:
            raise nvidia.failed(nvidia.GPU_IS_LOST, "nvidia-smi: GPU is lost", self._root)
        raise nvidia.no_slices()

    def begin(self) -> None:
        """Asks for everything at once; raises NoGpuError."""
        fields: tuple[str, ...] = FIELDS + NEWER_FIELDS
        output = _query(fields)
        if output is not None and output.code == _BAD_QUESTION:
            fields = FIELDS
            output = _query(fields)
        if output is None:
            raise NoGpuError(NoGpuCause.NO_GPU, "there is no nvidia-smi")
        if output.code:
            raise self._failed(output)
        self._rows = {}
        for line in output.text.splitlines():
            values = [value.strip() for value in line.split(",")]
            if len(values) == len(fields):
                row = dict(zip(fields, values, strict=True))
                self._rows[row["uuid"]] = row
        if not self._rows:
            raise nvidia.none_listed(self._root)
        if any(row.get("mig.mode.current") == "Enabled" for row in self._rows.values()):
            self._cut()

    def read(self, wanted: CardWanted) -> CardReading:
        """How a card is now."""
        row = self._rows.get(wanted["uuid"] or "")
        if row is None:
            return {"fault": "gpu_lost"}
        fault = _fault(row)
        if fault is not None:
            return {"fault": fault}
        reading = CardReading()
        used, total = _number(row.get("memory.used")), _number(row.get("memory.total"))
        if used is not None and total is not None:
            reading["memory_used_bytes"] = int(used * _MIB)
            reading["memory_total_bytes"] = int(total * _MIB)
        busy = _number(row.get("utilization.gpu"))
        if busy is not None:
            reading["busy_percent"] = busy
        celsius = _number(row.get("temperature.gpu"))
        if celsius is not None:
            reading["temperature_c"] = celsius
        errors = _number(row.get("ecc.errors.uncorrected.volatile.total"))
        if errors is not None:
            reading["ecc_uncorrected"] = int(errors)
        reading["hot"] = row.get("clocks_throttle_reasons.hw_thermal_slowdown") == "Active"
        return reading

    def _cut(self) -> None:
        """Puts the slices in the place of the cards they are cut from."""
        listed = output_of("nvidia-smi", "-L")
        rows: dict[str, Row] = {}
        whole: Row = {}
        for line in listed.text.splitlines() if listed is not None else ():
            if (card := _CARD.match(line)) is not None:
                whole = self._rows.get(card[2], {})
                if whole.get("mig.mode.current") != "Enabled":
                    rows[card[2]] = whole
            elif (piece := _SLICE.match(line)) is not None:
                size = _PROFILE_SIZE.search(piece[1])
                rows[piece[2]] = {
                    **whole,
                    "uuid": piece[2],
                    "name": f"{whole.get('name', '')} {piece[1]}".strip(),
                    "memory.total": str(int(size[1]) * _GIB // _MIB) if size else "",
                    "memory.used": "",
                    "utilization.gpu": "",
                }
        self._rows = rows

    def _failed(self, output: Output) -> NoGpuError:
        said = " ".join((output.text.strip() or output.error.strip()).split())
        if output.code == _NONE_LISTED:
            return nvidia.none_listed(self._root)
        code = nvidia.GPU_IS_LOST if any(lost in said for lost in _LOST) else output.code
        return nvidia.failed(code, f"nvidia-smi ended with {output.code}: {said[:300]}", self._root)


def _query(fields: tuple[str, ...]) -> Output | None:
    question = f"--query-gpu={','.join(fields)}"
    return output_of("nvidia-smi", question, "--format=csv,noheader,nounits")


def _fault(row: Row) -> str | None:
    """The reason a listed card can't be used: nvidia-smi writes it in the place of figures."""
    said = " ".join(row.values())
    if any(lost in said for lost in _LOST):
        return "gpu_lost"
    if "requires reset" in said:
        return "reset_required"
    return "driver_error" if "Unknown Error" in said else None


def _said(value: str | None) -> str | None:
    return None if value is None or value.startswith("[") or value in ("", "N/A") else value


def _number(value: str | None) -> float | None:
    said = _said(value)
    try:
        return None if said is None else float(said)
    except ValueError:
        return None
