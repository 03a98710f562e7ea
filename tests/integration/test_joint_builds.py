"""Real workers make one simulated data set together, and one of them is killed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from heimdall.datasets.build import build_synthetic
from heimdall.datasets.storage import verify_dataset
from heimdall.domain.datasets import DatasetStatus, SyntheticDatasetConfig
from tests.instance import wait_until
from tests.integration.worker_bench import WorkerBench

CONFIG = SyntheticDatasetConfig(name="large", num_examples=70_000, seed=8)
"""Three chunks."""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[WorkerBench]:
    opened = WorkerBench(tmp_path / "data")
    yield opened
    opened.close()


def test_two_workers_and_a_kill_give_the_bytes_of_one_undisturbed_process(bench: WorkerBench, tmp_path: Path) -> None:
    container = bench.container
    workers = [bench.start_worker(), bench.start_worker()]
    dataset = container.datasets.create_synthetic(CONFIG)

    def files(kind: str) -> list[str]:
        return [key for key in container.artifacts.find(f"incoming/{dataset.id}") if key.endswith(kind)]

    def waits_for(is_so: Callable[[], bool]) -> None:
        wait_until(is_so, 90, lambda: f"{container.artifacts.find('incoming')}\n{bench.log()}")

    waits_for(lambda: len(files("npz")) >= 1)
    builder = next(worker for worker in workers if psutil.Process(worker.pid).children())
    children = psutil.Process(builder.pid).children()
    builder.kill()
    builder.wait()
    psutil.wait_procs(children, timeout=10)
    container.queue.enqueue_dataset(dataset.id)  # what the sweeper does after a while, should nobody else be at it
    waits_for(lambda: container.datasets.get(dataset.id).status is not DatasetStatus.BUILDING)
    ready = container.datasets.get(dataset.id)
    assert (ready.status, ready.num_examples) == (DatasetStatus.READY, CONFIG.num_examples)
    (tmp_path / "alone").mkdir()
    assert build_synthetic(CONFIG, tmp_path / "alone", lambda share: None).content_hash == ready.content_hash
    assert verify_dataset(tmp_path / "data" / "artifacts" / "datasets" / dataset.id) == ready.content_hash
    waits_for(lambda: files("") == [])
