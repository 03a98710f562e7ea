"""``python -m chaos``: break it, check it, publish the figures. Exit code 1 where a promise was broken."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from chaos.campaign import Campaign
from chaos.servers import MissingServerError
from chaos.world import World

_SIZES = ("embedded", "rabbitmq", "redis")


def _give_back(number: int, _frame: object) -> None:
    """End by the first signal; no further one may disturb the end."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C must not leave servers behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main() -> int:
    """Run one campaign per size."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--size", action="append", choices=_SIZES, help="what to run on; may be given again (default: embedded)")
    parser.add_argument("--seconds", type=float, default=60, help="how long to disturb each size")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats the order of faults")
    parser.add_argument("--broker-gone", type=float, default=8, help="longest absence of the broker, s (make chaos-long: 60)")
    parser.add_argument("--report", type=Path, help="write the figures here as JSON")
    parser.add_argument("--keep", action="store_true", help="leave the folder for a look where a promise was broken")
    parser.add_argument("--need-servers", action="store_true", help="fail where PostgreSQL or a broker is missing")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _give_back)
    reports = []
    for size in options.size or ["embedded"]:
        try:
            world = World(size, options.seed)
        except MissingServerError as error:
            print(f"{size} is left out: {error}")  # noqa: T201
            if options.need_servers:
                return 1
            continue
        world.long_s = options.broker_gone
        try:
            report = Campaign(world, options.seed).run(options.seconds)
        finally:
            if options.keep:
                print(f"kept: {world.folder}")  # noqa: T201
            with _uninterrupted():
                world.close(is_folder_kept=options.keep)
        reports.append(report.to_dict())
        print(json.dumps(reports[-1], indent=2))  # noqa: T201
    if options.report:
        options.report.write_text(json.dumps(reports, indent=2) + "\n")
    num_violations = sum(len(report["violations"]) for report in reports)
    print(f"{sum(report['faults_injected'] for report in reports)} faults, {num_violations} violations")  # noqa: T201
    return 1 if num_violations else 0


if __name__ == "__main__":
    sys.exit(main())
