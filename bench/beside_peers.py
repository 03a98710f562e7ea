"""Ours and the peers, interleaved in one run: MLflow, TensorBoard, Aim and trackio, each in an environment of its own.

Run: ``make bench-peers`` (``.venv/bin/python -m bench.beside_peers [--quick] [--peers mlflow …] [--jobs 1000]``). Needs a package index
for the first run. Writes ``bench/out/peers.json``, with ``--write`` docs/figures.md as well. A peer that cannot be installed,
or does not do a row, is named there with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil

from bench.peers.installing import WANTED, install, read_version
from bench.peers.measuring import QUICK, Figures, Sizes, fill, measure_history, measure_live, measure_reads, measure_training
from bench.peers.products import PRODUCTS, Product
from bench.peers.report import join_records, make_record, write_json, write_lines
from bench.peers.running import Running, serve
from bench.sections import FIGURES, replace_section

ROOT = Path(__file__).parents[1]


class Comparison:
    """One run of all products, whose failures are noted and stop nothing else."""

    def __init__(self, products: list[Product], folder: Path, sizes: Sizes, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes
        self._products = products
        self._folder = folder
        self._sizes = sizes
        self.rounds: dict[str, list[Figures]] = {product.name: [] for product in products}
        self.problems: dict[str, list[str]] = {product.name: [] for product in products}

    def measure_live(self) -> None:
        """Take the rows of starting, logging and waiting."""
        for number in range(self._sizes.rounds):
            for product in self._turn(number):
                folder = self._folder / f"live-{product.name}-{number}"
                self._note(
                    product,
                    "live",
                    lambda product=product, folder=folder, number=number: measure_live(product, folder, number, self._sizes),
                )
                folder = self._folder / f"train-{product.name}-{number}"
                self._note(
                    product,
                    "training",
                    lambda product=product, folder=folder, number=number: measure_training(product, folder, number, self._sizes),
                )

    def measure_reads(self) -> None:
        """Fill a store for each product, serve all of them, and ask in turns; those whose turn it is not stand still."""
        filled = {}
        for product in self._products:
            folder = self._folder / f"reads-{product.name}"
            try:
                filled[product.name] = fill(product, folder, self._sizes)
            except (RuntimeError, OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
                self.problems[product.name].append(f"reads: {_say(error)}")
                continue
            if filled[product.name]["jobs"] < self._sizes.jobs:
                how_many = f"{filled[product.name]['jobs']} of {self._sizes.jobs} runs could be filled in {self._sizes.limit_s:g} s"
                self.problems[product.name].append(f"first page: {how_many}")
        with ExitStack() as stack:
            servers = self._serve_all(stack, filled)
            for number in range(self._sizes.rounds):
                for product in self._turn(number):
                    if product.name not in servers:
                        continue
                    server, run, num_jobs = servers[product.name], filled[product.name]["run"], filled[product.name]["jobs"]
                    with server.awake():
                        self._note(product, "reads", lambda s=server, r=run, n=num_jobs: measure_reads(s, r, n, self._sizes))
                        if product.name != "tensorboard":
                            self._note(product, "history", lambda s=server, r=run: measure_history(s, r, self._sizes))
        if "tensorboard" in filled:
            self._measure_whole_tensorboard(filled["tensorboard"]["run"])

    def _serve_all(self, stack: ExitStack, filled: dict[str, dict[str, object]]) -> dict[str, Running]:
        servers = {}
        for product in self._products:
            if product.name in filled:
                try:
                    servers[product.name] = stack.enter_context(serve(product, self._folder / f"reads-{product.name}"))
                    servers[product.name].settle()
                    servers[product.name].freeze()
                except (RuntimeError, OSError) as error:
                    self.problems[product.name].append(f"reads: {_say(error)}")
        return servers

    def _measure_whole_tensorboard(self, run: str) -> None:
        """Its server keeps 1 000 points a series unless it is told otherwise when it starts; then its chart view is as large."""
        folder = self._folder / "reads-tensorboard"
        (folder / "keep-all").touch()
        with serve(PRODUCTS["tensorboard"], folder) as server:
            server.settle()
            for _ in range(self._sizes.rounds):
                self._note(server.product, "history", lambda: measure_history(server, run, self._sizes))

    def _turn(self, number: int) -> list[Product]:
        """Return the products, another one first in each round."""
        first = number % len(self._products)
        return self._products[first:] + self._products[:first]

    def _note(self, product: Product, part: str, measure: Callable[[], Figures]) -> None:
        began = time.monotonic()
        if began > self._end:
            self.problems[product.name].append(f"{part}: the time given to the whole run was over before the last rounds")
            return
        try:
            self.rounds[product.name].append(measure())
        except (RuntimeError, OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
            self.problems[product.name].append(f"{part}: {_say(error)}")
        print(f"{product.name:12} {part:9} {time.monotonic() - began:6.1f} s", flush=True)


def _say(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def read_options() -> tuple[argparse.Namespace, Sizes]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--peers", nargs="*", choices=list(WANTED), default=list(WANTED))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--history-epochs", type=int, help="of the long run that is read; the slowest peer answers 100 000 in 20 s")
    parser.add_argument("--jobs", type=int, help="in the list")
    parser.add_argument("--minutes", type=float, default=90, help="begin nothing after this; what is there is written")
    parser.add_argument("--only", choices=["live", "reads"])
    parser.add_argument("--beside", type=Path, help="a result of before on this machine; its rows that are not taken anew are kept")
    parser.add_argument("--write", action="store_true", help="write the table to docs/figures.md")
    options = parser.parse_args()
    sizes = QUICK if options.quick else Sizes()
    given = {name: value for name in ("rounds", "history_epochs", "jobs") if (value := getattr(options, name))}
    return options, replace(sizes, **given)


def main() -> None:
    options, sizes = read_options()
    load, busy_percent = os.getloadavg()[0], psutil.cpu_percent(2)
    absent = {peer: why for peer in options.peers if (why := install(peer))}
    products = [PRODUCTS[name] for name in ("heimdall", *options.peers) if name not in absent]
    folder = Path(tempfile.mkdtemp(prefix="beside-peers-"))
    comparison = Comparison(products, folder, sizes, options.minutes)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    try:
        if options.only != "reads":
            comparison.measure_live()
        if options.only != "live":
            comparison.measure_reads()
    finally:  # also where it is ended from outside: an hour's figures are not thrown away
        shutil.rmtree(folder, ignore_errors=True)
        versions = {product.name: read_version(product.name) for product in products}
        problems = comparison.problems | {peer: [why] for peer, why in absent.items()}
        record = make_record(comparison.rounds, versions, problems, sizes, load) | {"busy_percent_at_start": busy_percent}
        if options.beside:
            record = join_records(json.loads(options.beside.read_text()), record)
        write_json(record, ROOT / "bench" / "out" / "peers.json")
        lines = write_lines(record)
        print("\n".join(lines))
        if options.write:
            replace_section(FIGURES, "peers", lines)


if __name__ == "__main__":
    main()
