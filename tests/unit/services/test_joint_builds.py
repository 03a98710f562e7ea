"""Large simulated sets: chunk by chunk, by any number of processes, with the same bytes."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from heimdall.datasets import simulation
from heimdall.datasets.build import build_synthetic
from heimdall.datasets.simulation import Simulation
from heimdall.datasets.storage import verify_dataset
from heimdall.domain.datasets import DatasetStatus, SyntheticDatasetConfig
from heimdall.domain.errors import NotFoundError, UnavailableError
from tests.unit.services.test_datasets import Bench

CONFIG = SyntheticDatasetConfig(name="large", num_examples=6 * 1024 + 5, seed=3)
NUM_CHUNKS = 7


class Killed(BaseException):
    """What a signal is to a process."""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(simulation, "CHUNK_BLOCKS", {"log-distance": 1, "terrain": 1})


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The content hash of one process that makes everything in order."""
    return build_synthetic(CONFIG, tmp_path_factory.mktemp("alone"), lambda share: None).content_hash


@pytest.fixture
def made(monkeypatch):
    """The numbers of the chunks that were simulated, in order."""
    numbers = []
    original = Simulation.make

    def note(self, number, progress):
        numbers.append(number)
        return original(self, number, progress)

    monkeypatch.setattr(Simulation, "make", note)
    return numbers


def kill_after(bench, monkeypatch, num_chunks):
    """Let the build end as by a signal when so many chunks are stored."""
    put, stored = bench.artifacts.put, []

    def die(key, source):
        put(key, source)
        stored.extend([key] if key.endswith(".npz") else [])
        if len(stored) == num_chunks and key == stored[-1]:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(bench.artifacts, "put", die)
        dataset = bench.service.create_synthetic(CONFIG)
        with pytest.raises(Killed):
            bench.service.build(dataset.id)
    return dataset


def test_one_builder_makes_every_chunk_once_and_leaves_nothing_but_the_data_set(bench, alone, made):
    dataset = bench.service.build(bench.service.create_synthetic(CONFIG).id)
    assert (dataset.status, dataset.content_hash, dataset.num_examples) == (DatasetStatus.READY, alone, CONFIG.num_examples)
    assert verify_dataset(bench.folder / "datasets" / dataset.id) == alone
    assert made == list(range(NUM_CHUNKS))
    assert all(key.startswith("datasets/") for key in bench.files())


def test_other_workers_are_called_while_there_are_chunks_that_nobody_has_begun(bench):
    dataset = bench.service.create_synthetic(CONFIG)
    bench.service.build(dataset.id)
    assert list(bench.queue.datasets) == [dataset.id] * NUM_CHUNKS  # one to begin with, one for every further chunk


@pytest.mark.parametrize("num_builders", [2, 3])
def test_any_number_of_builders_make_the_same_bytes(bench, alone, made, num_builders):
    dataset = bench.service.create_synthetic(CONFIG)
    start = threading.Barrier(num_builders)

    def build():
        start.wait(30)
        return bench.service.build(dataset.id)

    with ThreadPoolExecutor(num_builders) as pool:
        for future in [pool.submit(build) for _ in range(num_builders)]:
            future.result(60)
    assert bench.service.get(dataset.id).content_hash == alone
    assert set(made) == set(range(NUM_CHUNKS))
    assert all(key.startswith("datasets/") for key in bench.files())


@pytest.mark.parametrize("num_kept", [1, 4, NUM_CHUNKS])
def test_a_killed_build_goes_on_from_the_chunks_that_are_made(bench, alone, made, monkeypatch, num_kept):
    dataset = kill_after(bench, monkeypatch, num_kept)
    assert bench.service.get(dataset.id).status is DatasetStatus.BUILDING
    assert made == list(range(num_kept))
    made.clear()
    assert bench.service.build(dataset.id).content_hash == alone
    assert made == list(range(num_kept, NUM_CHUNKS))


def test_what_a_dead_builder_had_begun_is_made_by_another(bench, alone, made, monkeypatch):
    dataset = bench.service.create_synthetic(CONFIG)

    def die(self, number, progress):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Simulation, "make", die)
        with pytest.raises(Killed):
            bench.service.build(dataset.id)
    assert bench.service.build(dataset.id).content_hash == alone
    assert made == [*range(1, NUM_CHUNKS), 0]


def test_a_builder_that_died_while_it_put_the_chunks_together_is_replaced(bench, alone, made, monkeypatch):
    dataset = bench.service.create_synthetic(CONFIG)

    def die(self, chunks, directory, progress):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Simulation, "write", die)
        with pytest.raises(Killed):
            bench.service.build(dataset.id)
    made.clear()
    assert bench.service.build(dataset.id).content_hash == alone
    assert made == []


def test_who_helped_does_not_put_together_what_another_puts_together(bench, monkeypatch):
    dataset = bench.service.create_synthetic(CONFIG)
    with bench.artifacts.write(f"incoming/{dataset.id}/chunks/{NUM_CHUNKS:06d}.begun"):
        pass
    assert bench.service.build(dataset.id).status is DatasetStatus.BUILDING
    assert bench.service.build(dataset.id).status is DatasetStatus.READY


def test_a_damaged_chunk_is_made_again(bench, alone, made, monkeypatch):
    dataset = kill_after(bench, monkeypatch, 3)
    path = bench.folder / "incoming" / dataset.id / "chunks" / "000001.npz"
    path.write_bytes(path.read_bytes()[:-100])
    made.clear()
    assert bench.service.build(dataset.id).content_hash == alone
    assert made == [3, 4, 5, 6, 1]


def test_a_data_set_deleted_meanwhile_leaves_no_chunk(bench, monkeypatch):
    original = Simulation.make

    def delete_first(self, number, progress):
        if number == 2:
            bench.service.delete(dataset.id)
        return original(self, number, progress)

    monkeypatch.setattr(Simulation, "make", delete_first)
    dataset = bench.service.create_synthetic(CONFIG)
    with pytest.raises(NotFoundError):
        bench.service.build(dataset.id)
    assert bench.files() == []


def test_a_store_that_goes_away_costs_no_chunk(bench, alone, made, monkeypatch):
    dataset = bench.service.create_synthetic(CONFIG)
    put = bench.artifacts.put

    def go_away(key, source):
        if key.endswith("000002.npz"):
            raise UnavailableError("away")
        put(key, source)

    with monkeypatch.context() as patch:
        patch.setattr(bench.artifacts, "put", go_away)
        with suppress(UnavailableError):
            bench.service.build(dataset.id)
    assert bench.service.get(dataset.id).status is DatasetStatus.BUILDING
    assert bench.service.build(dataset.id).content_hash == alone
    assert made == [0, 1, 2, 3, 4, 5, 6, 2]
