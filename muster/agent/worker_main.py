"""The worker process: asks drivers, so that only it hangs when one of them does.

It reads questions from stdin and writes answers to stdout (`muster.agent.facts`), one at a time.
It ends when stdin ends, which is when the agent ends, however that happens: a thread waits for it,
as a call that hangs leaves the other threads running.
It is kept small, as it stays for as long as the agent does: what it imports counts.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import TextIO

from muster.agent.causes import NoGpuCause, NoGpuError
from muster.agent.facts import Answer, Request
from muster.agent.sources import CardSource, find, sources


def main() -> None:
    """Serves until stdin ends. The argument is where the file system that is asked begins."""
    lines = _only_ours()
    questions: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(questions,), daemon=True).start()
    serve(questions, lines, sources(Path(sys.argv[1])))


def serve(questions: SimpleQueue[bytes], lines: TextIO, asked: list[CardSource]) -> None:
    """Answers questions, one after the other."""

    def say(answer: Answer) -> None:
        lines.write(json.dumps(answer) + "\n")
        lines.flush()

    while True:
        request: Request = json.loads(questions.get())
        try:
            if request["ask"] == "find":
                source, found = find(asked, lambda name: say({"trying": name}))
                say({"source": source, "found": found, "done": True})
            else:
                source_asked = next(one for one in asked if one.name == request["source"])
                source_asked.begin()
                say({"begun": True})
                for card in request["cards"]:
                    say({"at": card["at"], "reading": source_asked.read(card)})
                say({"done": True})
        except NoGpuError as error:
            no_gpu: Answer = {"cause": error.cause, "detail": error.detail, "fault": error.fault}
            say({**no_gpu, "done": True})
        except Exception as error:  # noqa: BLE001 - drivers' bindings raise what they like
            failed: Answer = {"cause": NoGpuCause.UNKNOWN, "detail": repr(error)[:300]}
            say({**failed, "fault": "probe_failed", "done": True})


def _only_ours() -> TextIO:
    """The pipe to the agent, out of reach of libraries that print."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - the null device is no path
        os.dup2(nothing.fileno(), 1)
    return lines


def _listen(questions: SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        questions.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
