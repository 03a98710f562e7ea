"""Whether ``torch.compile`` or channels-last pay for our own networks on a processor: warm-up against what a step gains.

Run: ``.venv/bin/python -m bench.compile_gain [--architectures deepsets-s] [--steps 30]``. The variants take turns, one step each, in
one process; ``cpu_ms`` is the median of the thread's processor time for a step, ``ratio`` that of plain over it (above 1 pays), ``warm_s``
what the first step costs more. ``steps to pay`` is how long a run must be before the warm-up is earned back. ``validation`` is the share of
an epoch of 5 000 examples (a fifth of them held out) that overlapping it could hide at the most, on a core that nobody uses.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from bench.reporting import print_table
from bench.training_overhead import make_request
from heimdall.training.metrics import evaluate
from heimdall.training.preparation import Run, prepare_run
from heimdall.training.steps import Stepper


def make_step(folder: Path, architecture: str, change: Callable[[Run], None]) -> tuple[Run, Callable[[], None]]:
    """Return a run whose network was changed, and one optimizer step of it."""
    run = prepare_run(make_request(folder, epochs=1000, num_examples=5000, architecture=architecture))
    change(run)
    step = Stepper(run)
    rows = torch.from_numpy(run.fit_rows[: run.request.config.batch_size]).to(run.examples.rows_device)

    def act() -> None:
        run.state.batch = 0
        step(rows)

    return run, act


def compile_network(run: Run) -> None:
    """Compile the network in place."""
    run.state.model.compile()


def order_channels(run: Run) -> None:
    """Keep the weights of two-dimensional convolutions channels-last."""
    for weights in run.state.model.parameters():
        if weights.dim() == 4:
            weights.data = weights.data.contiguous(memory_format=torch.channels_last)


def take(act: Callable[[], object]) -> float:
    """Return s of this thread's processor."""
    began = time.thread_time()
    act()
    return time.thread_time() - began


def compare(architecture: str, num_steps: int) -> dict[str, dict[str, float]]:
    """Return a row for each variant of one architecture."""
    changes = {"plain": lambda _: None, "compiled": compile_network, "channels-last": order_channels}
    with tempfile.TemporaryDirectory() as name:
        runs, steps, warm_s = {}, {}, {}
        for variant, change in changes.items():
            (folder := Path(name) / variant).mkdir()
            runs[variant], steps[variant] = make_step(folder, architecture, change)
            began = time.perf_counter()
            steps[variant]()
            warm_s[variant] = time.perf_counter() - began
        spent: dict[str, list[float]] = {variant: [] for variant in changes}
        for _ in range(num_steps):
            for variant, step in steps.items():
                spent[variant].append(take(step))
        run = runs["plain"]
        validation_s = statistics.median(
            take(lambda: evaluate(run.state.model, run.examples, run.val_rows, before_batch=lambda: None)) for _ in range(3)
        )
    step_s = {variant: statistics.median(of_variant) for variant, of_variant in spent.items()}
    rows: dict[str, dict[str, float]] = {}
    for variant, seconds in step_s.items():
        extra_s, gain_s = warm_s[variant] - warm_s["plain"], step_s["plain"] - seconds
        rows[f"{architecture}, {variant}"] = {
            "cpu_ms": 1000 * seconds,
            "ratio": step_s["plain"] / seconds,
            "warm_s": extra_s,
            "steps to pay": extra_s / gain_s if gain_s > 0 else float("inf"),
            "validation": validation_s / (validation_s + run.num_batches * step_s["plain"]),
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--architectures", nargs="*", default=["deepsets-s", "mlp-baseline"])
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, dict[str, float]] = {}
    for architecture in options.architectures:
        rows |= compare(architecture, options.steps)
    print_table("what compiling and channels-last gain a step, one thread", rows)


if __name__ == "__main__":
    main()
