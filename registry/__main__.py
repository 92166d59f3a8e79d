"""`python -m registry`: an embedded store in the foreground. It prints its URL and waits."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

from registry.embedded import EmbeddedStore, EmbeddedStoreError, fleet_secret, secret_path


def main(argv: list[str] | None = None) -> int:
    """Start the store, print where it is, end with it or on a signal. Returns an exit status."""
    parser = argparse.ArgumentParser(prog="python -m registry", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--bind", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--data-dir", type=Path, help="where data is kept; else it is thrown away")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    arguments = parser.parse_args(argv)
    if arguments.data_dir:
        return _run(arguments.data_dir, arguments)
    with tempfile.TemporaryDirectory(prefix="muster-") as directory:
        return _run(Path(directory), arguments)


def _run(data_dir: Path, arguments: argparse.Namespace) -> int:
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        raise SystemExit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        fleet_secret(data_dir)
        store = EmbeddedStore.start(data_dir, arguments.port, bind=arguments.bind)
    except (EmbeddedStoreError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    try:
        where = {
            "url": store.url,
            "pid": store.pid,
            "data_dir": str(store.data_dir),
            "log": str(store.log_path),
            "secret_file": str(secret_path(store.data_dir)),
        }
        line = json.dumps(where) if arguments.json else store.url
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        status = store.wait()
        sys.stderr.write(f"the store ended with status {status}\n{store.log_tail()}\n")
        return 1
    finally:
        if stopping:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
        store.stop()


if __name__ == "__main__":
    sys.exit(main())
