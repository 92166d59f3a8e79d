"""What a machine is and can do, read at any moment: plain values, labels, changes of hardware."""

from __future__ import annotations

import pytest

from muster.agent.hardware import Gpu, GpuSnapshot, GpuState, Hardware, NoGpuCause, NoGpuError
from muster.agent.inventory import Inventory
from muster.agent.report import Claim, heartbeat, registration
from muster.wire.codec import JSON
from muster.wire.messages import Heartbeat, Register
from muster.wire.reading import read

ONE = Gpu(name="RTX 3070", memory_gb=8.0, uuid="GPU-0", index=0)
OTHER = Gpu(name="RTX 3090", memory_gb=24.0, uuid="GPU-1", index=1)
CLAIM = Claim(node_id=None, node_token=None, boot_id="b", attempt=1)


def machine(*gpus: Gpu) -> Hardware:
    return Hardware(cpu_cores=8, memory_gb=32.0, gpus=gpus, platform="linux")


class Cards:
    """A monitor that says what it is told."""

    def __init__(self, *states: GpuState) -> None:
        self.snapshot = GpuSnapshot(gpu_percent=12.5, gpu_mem_percent=25.0, gpus=states)
        self.hardware: Hardware | None = None

    def latest(self) -> GpuSnapshot:
        return self.snapshot

    def replace(self, hardware: Hardware) -> None:
        self.hardware = hardware


def test_what_the_monitor_knows_is_in_the_report_a_gateway_reads() -> None:
    cards = Cards(
        GpuState(index=0, uuid="GPU-0", memory_used_gb=2.0, temperature_c=41.0),
        GpuState(index=1, uuid="GPU-1", healthy=False, reason="probe_timeout"),
    )
    inventory = Inventory(machine(ONE, OTHER), monitor=cards)
    inventory.running_jobs = 3
    said = JSON.encode(heartbeat(inventory.report(), "node-A", timestamp=1, models=True))
    beat = read(said, JSON)
    assert isinstance(beat, Heartbeat)
    assert beat.warnings == ()
    usage = beat.usage
    assert (usage.running_jobs, usage.gpu_percent, usage.gpu_mem_percent) == (3, 12.5, 25.0)
    assert usage.gpus is not None
    assert [(gpu.healthy, gpu.reason) for gpu in usage.gpus] == [
        (True, None),
        (False, "probe_timeout"),
    ]
    assert usage.mem_percent is not None


def test_without_a_monitor_nothing_is_said_of_the_cards() -> None:
    said = heartbeat(Inventory(machine(ONE)).report(), "node-A", timestamp=1, models=False)
    assert "gpus" not in said["resource_usage"]
    assert "gpu_percent" not in said["resource_usage"]


def test_what_an_owner_said_is_in_the_registration() -> None:
    inventory = Inventory(
        machine(ONE),
        version="2.0",
        labels={"region": "here"},
        accept_public_jobs=False,
        max_concurrent_jobs=4,
    )
    said = read(JSON.encode(registration(inventory.report(), CLAIM)), JSON)
    assert isinstance(said, Register)
    assert (said.version, said.platform) == ("2.0", "linux")
    assert (said.labels, said.accept_public_jobs) == ({"region": "here"}, False)
    assert said.max_concurrent_jobs == 4


@pytest.mark.parametrize("labels", [{}, {"simulated": "false"}])
def test_a_node_that_pretends_says_so_whatever_its_labels_say(labels: dict[str, str]) -> None:
    inventory = Inventory(machine(ONE), labels=labels, simulated=True)
    assert inventory.report().labels["simulated"] == "true"


def test_a_node_that_does_not_pretend_may_not_be_taken_for_one() -> None:
    assert "simulated" not in Inventory(machine(ONE)).report().labels


def test_cards_for_people_are_what_they_are_and_how_they_are() -> None:
    cards = Cards(GpuState(healthy=False, reason="gpu_lost"))
    one, other = Inventory(machine(ONE, OTHER), monitor=cards).gpu_rows()
    assert (one.name, one.healthy, one.reason) == ("RTX 3070", False, "gpu_lost")
    assert (other.index, other.name, other.healthy) == (1, "RTX 3090", True)


async def test_other_hardware_is_taken_over_and_what_changed_is_told() -> None:
    found = machine(ONE, ONE, OTHER)

    async def probe() -> Hardware:
        return found

    cards = Cards()
    inventory = Inventory(machine(ONE, Gpu(name="old", memory_gb=1.0)), monitor=cards, probe=probe)
    assert await inventory.reprobe() == (("RTX 3070", "RTX 3090"), ("old",))
    assert inventory.hardware == cards.hardware == found
    assert await inventory.reprobe() is None


async def test_hardware_that_is_gone_stays_what_it_was() -> None:
    async def probe() -> Hardware:
        raise NoGpuError(NoGpuCause.GPU_LOST)

    inventory = Inventory(machine(ONE), probe=probe)
    with pytest.raises(NoGpuError):
        await inventory.reprobe()
    assert inventory.hardware == machine(ONE)


async def test_without_a_way_to_look_again_nothing_changes() -> None:
    assert await Inventory(machine(ONE)).reprobe() is None
