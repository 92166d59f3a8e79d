"""An inference program that puts its machine into the fleet, and says what it is doing.

python inference_node.py wss://dispatcher.example.com models.toml
"""

import asyncio
import sys
from pathlib import Path

from muster.agent import Agent, AgentConfig, NodeSession, NoGpuError, find_hardware


async def work(session: NodeSession) -> None:
    """Here the program's own server would take jobs; this one makes them up."""
    for number in range(sys.maxsize):
        await asyncio.sleep(1.0)
        session.set_running_jobs(1)
        await asyncio.sleep(0.2)  # the model at work
        await session.job_result(f"job-{number}", success=True, running_jobs=0)


async def main(server: str, models: str) -> None:
    config = AgentConfig.load(servers=(server,), models_file=Path(models))
    agent = Agent(config, await find_hardware(config), on_status=lambda *told: print(*told))
    async with asyncio.TaskGroup() as tasks:
        worker = tasks.create_task(work(agent.session))
        await agent.run()  # until `await agent.session.drain()`, or refused for good
        worker.cancel()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2]))
    except NoGpuError as error:
        sys.exit(f"no usable GPU: {error}")
