"""Our training loop beside a hand-written one, Accelerate's and Lightning's: same data, network, optimizer and clipping, a step in turns.

Run: ``.venv/bin/python -m bench.training_frameworks [--epochs 30] [--write]``. The frameworks are set up in an environment of their own
under ``bench/out/peers/training``, which looks into this one for torch; without a package index it says that they are not there.
Processor time of the process on one thread, from the end of an epoch's first step to the end of its last. Ours also keeps its figures,
looks for pause and cancel before each step and tells its progress; the frameworks log nothing, write no checkpoint and show no bar.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from bench.peers.installing import FOLDER, torch_site
from bench.reporting import print_table
from bench.sections import FIGURES, introduce, replace_section, tabulate
from bench.training_overhead import HandWritten, Stopwatch, make_request
from heimdall.training.data import shuffle_rows
from heimdall.training.loop import train
from heimdall.training.losses import gaussian_nll
from heimdall.training.preparation import Run, prepare_run

WANTED = ("accelerate==1.15.*", "lightning==2.6.*", "lightning-utilities", "torchmetrics")
NEEDED = ("tqdm", "pyyaml", "packaging", "psutil", "fsspec", "aiohttp", "huggingface_hub")


class Rows(Dataset[Any]):
    """The gather of a whole batch behind the interface that a loader wants."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        return self.__getitems__(torch.tensor([row]))

    def __getitems__(self, rows: Any) -> dict[str, torch.Tensor]:
        batch = self._run.examples.take(rows)
        return {"features": batch.features_BRF, "mask": batch.mask_BR, "receiver": batch.receiver_BR, "target": batch.target_B2}

    def __len__(self) -> int:
        return len(self._run.train_rows)


class Batches(Sampler[Any]):
    """Our own order, batch by batch."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._epoch = 0

    def __iter__(self) -> Iterator[Any]:
        self._epoch += 1
        order = shuffle_rows(self._run.train_rows, seed=0, epoch=self._epoch)
        return (order[start:end] for start, end in pairwise(self._run.batch_borders))

    def __len__(self) -> int:
        return self._run.num_batches


def make_loader(run: Run) -> DataLoader[Any]:
    """Return the loader that a framework gets: whole batches, no worker processes, which only cost at this size."""
    return DataLoader(Rows(run), batch_sampler=Batches(run), collate_fn=lambda batch: batch)


def compute_loss(model: Any, batch: dict[str, torch.Tensor], scale_km: Any) -> torch.Tensor:
    """Return the mean likelihood of a batch."""
    predicted = model(batch["features"], batch["mask"], batch["receiver"])
    return gaussian_nll(predicted, batch["target"], scale_km=scale_km).mean()


class WithAccelerate:
    """The loop of Accelerate's guide."""

    def __init__(self, run: Run) -> None:
        from accelerate import Accelerator

        self._accelerator = Accelerator(cpu=True)
        self._scale_km = run.state.model.scale_km
        self._model, self._optimizer, self._loader = self._accelerator.prepare(run.state.model, run.state.optimizer, make_loader(run))

    def steps(self) -> Iterator[None]:
        self._model.train()
        for batch in self._loader:
            loss = compute_loss(self._model, batch, self._scale_km)
            self._accelerator.backward(loss)
            self._accelerator.clip_grad_norm_(self._model.parameters(), 1.0)
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
            yield


class WithLightning:
    """Lightning's Trainer, each epoch a fit on a thread of its own, which is held behind each step until the next is asked for."""

    def __init__(self, run: Run) -> None:
        import lightning
        from lightning.pytorch.callbacks import Callback

        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.ERROR)
        outer = self
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)

        class Module(lightning.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.model = run.state.model

            def training_step(self, batch: Any, _index: int) -> torch.Tensor:
                return compute_loss(self.model, batch, self.model.scale_km)

            def configure_optimizers(self) -> Any:
                return run.state.optimizer

        class Turnstile(Callback):
            def on_train_batch_end(self, *_: Any, **__: Any) -> None:
                outer._done.release()
                outer._go.acquire()

        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
        self._make = lambda: lightning.Trainer(
            accelerator="cpu", devices=1, max_epochs=1, gradient_clip_val=1.0, callbacks=[Turnstile()], barebones=False, **quiet
        )
        self._module, self._loader = Module(), make_loader(run)

    def steps(self) -> Iterator[None]:
        thread = threading.Thread(target=self._fit, daemon=True)
        thread.start()
        for _ in range(len(self._loader)):
            self._done.acquire()
            yield
            self._go.release()
        thread.join()

    def _fit(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._make().fit(self._module, self._loader)


def set_up() -> str:
    """Return the interpreter of the environment, made where it is not there."""
    folder = FOLDER / "training"
    stamp = folder / ".installed"
    if not stamp.exists() or stamp.read_text() != str(WANTED):
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", *WANTED], check=True, timeout=600)
        subprocess.run([*pip, *NEEDED], check=True, timeout=600)
        site = next((folder / "lib").glob("python*/site-packages"))
        (site / "zz_project.pth").write_text(f"{torch_site()}\n{Path(__file__).parents[1] / 'src'}\n")
        stamp.write_text(str(WANTED))
    return str(folder / "bin" / "python")


def measure(num_epochs: int, num_examples: int) -> dict[str, dict[str, float]]:
    """Train in turns; return the processor time of an epoch and the throughput of ours against each."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        request = make_request(Path(name), epochs=num_epochs + 1, num_examples=num_examples)
        others = {
            "hand-written": HandWritten(prepare_run(request)),
            "Accelerate": WithAccelerate(prepare_run(request)),
            "Lightning": WithLightning(prepare_run(request)),
        }
        stopwatch = Stopwatch(others)
        train(request, stopwatch)
    rounds = stopwatch.rounds[1:]
    return {
        name: {
            "s_per_epoch": statistics.median(one[name] for one in rounds),
            "ratio": statistics.median(one[name] / one["ours"] for one in rounds),
            "ratio_min": min(one[name] / one["ours"] for one in rounds),
            "ratio_max": max(one[name] / one["ours"] for one in rounds),
            "epochs": len(rounds),
        }
        for name in rounds[0]
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--examples", type=int, default=5000)
    parser.add_argument("--write", action="store_true", help="write the table to docs/figures.md")
    parser.add_argument("--inside", action="store_true", help="internal: the frameworks are there")
    options = parser.parse_args()
    if not options.inside:
        try:
            python = set_up()
        except subprocess.SubprocessError as error:
            print(f"the frameworks could not be set up: {error}")
            return 1
        command = [python, "-m", "bench.training_frameworks", "--inside", *sys.argv[1:]]
        return subprocess.run(command, check=False).returncode
    load = os.getloadavg()[0]
    rows = measure(options.epochs, options.examples)
    print_table("an epoch's steps, s of processor; ratio: theirs over ours", rows)
    if options.write:
        versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "accelerate", "lightning"))
        further = f"{options.epochs} epochs of {options.examples} examples, `deepsets-s`, one thread; {versions}."
        columns = {
            "s_per_epoch": "s of processor an epoch",
            "ratio": "over ours, median",
            "ratio_min": "least",
            "ratio_max": "most",
        }
        replace_section(FIGURES, "loops", [introduce(load, further), "", *tabulate("loop", rows, columns)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
