"""What every store promises of transactions, data sets and models."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import InternalError

from heimdall.domain.datasets import DatasetStatus
from heimdall.domain.errors import (
    ConflictError,
    HeimdallError,
    NotFoundError,
    UnavailableError,
)
from heimdall.domain.events import EventType
from heimdall.domain.jobs import JobStatus
from heimdall.domain.ports import JobQuery, Store
from tests.contract.samples import NOW, a_dataset, a_job, a_metric, a_model, add

# Transactions


def test_an_exception_rolls_everything_back(store: Store) -> None:
    job = a_job()

    def write_everything_and_fail() -> None:
        with store.write() as tx:
            tx.jobs.add(job)
            tx.metrics.put(a_metric(job.id, 1))
            tx.events.append(job.id, seq=1, type=EventType.UPDATED, payload={}, now=NOW)
            tx.logs.append(job.id, ["line"], now=NOW)
            tx.datasets.add(a_dataset())
            tx.models.add(a_model())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_everything_and_fail()
    with store.read(settled=True) as tx:
        assert tx.jobs.find(JobQuery()).total == 0
        assert tx.metrics.find(job.id) == []
        assert tx.events.last_position() == 0
        assert tx.logs.find(job.id) == []
        assert tx.datasets.find_all() == []
        assert tx.models.find_all() == []


def test_a_read_sees_one_moment(store: Store) -> None:
    first, second = a_job(), a_job()
    add(store, first)
    with store.read() as tx:
        assert tx.jobs.find(JobQuery()).total == 1
        writer = threading.Thread(target=add, args=(store, second))
        writer.start()
        writer.join(timeout=10)
        assert not writer.is_alive()
        assert tx.jobs.find(JobQuery()).total == 1
        assert sum(tx.jobs.count_by_status().values()) == 1
    with store.read() as tx:
        assert tx.jobs.find(JobQuery()).total == 2


def test_what_a_read_writes_does_not_survive(store: Store) -> None:
    # PostgreSQL refuses at once, the others drop it.
    with suppress(InternalError), store.read() as tx:
        tx.jobs.add(a_job())
    with store.read() as tx:
        assert tx.jobs.find(JobQuery()).total == 0


def test_a_second_write_in_the_same_thread_is_a_loud_bug(store: Store) -> None:
    with store.write(), pytest.raises(RuntimeError, match="already has a write transaction"), store.write():
        pass


def test_writers_take_turns(backend: Any) -> None:
    job = a_job()
    add(backend.open(), job)
    stores = [backend.open() for _ in range(3)]

    def raise_version(store: Store) -> None:
        for _ in range(10):
            with store.write() as tx:
                current = tx.jobs.get(job.id, lock=True)
                tx.jobs.save(current.evolve(version=current.version + 1), expected_version=current.version)

    threads = [threading.Thread(target=raise_version, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    with stores[0].read() as tx:
        assert tx.jobs.get(job.id).version == 31


def test_ping_and_migrate_are_repeatable(store: Store) -> None:
    store.migrate()
    store.migrate()
    store.ping()


# Data sets and models


def test_data_sets_are_kept_newest_first_and_changed_by_version(store: Store) -> None:
    old, new = a_dataset(), a_dataset(id="ds-2", created_at=NOW + timedelta(seconds=1), status=DatasetStatus.BUILDING)
    with store.write() as tx:
        tx.datasets.add(old)
        tx.datasets.add(new)
    with store.read() as tx:
        assert tx.datasets.find_all() == [new, old]
        assert tx.datasets.get("ds-1") == old
        assert tx.datasets.find_by_content("a" * 64) == old
        assert tx.datasets.find_by_content("z") is None
        with pytest.raises(NotFoundError):
            tx.datasets.get("nope")
    ready = new.evolve(status=DatasetStatus.READY, version=2, num_examples=7)
    with store.write() as tx:
        tx.datasets.save(ready, expected_version=1)
    with pytest.raises(ConflictError), store.write() as tx:
        tx.datasets.save(ready, expected_version=1)
    with store.read() as tx:
        assert tx.datasets.get("ds-2", lock=False).num_examples == 7


def test_a_data_set_stays_while_active_jobs_use_it(store: Store) -> None:
    job = add(store, a_job())
    with store.write() as tx:
        tx.datasets.add(a_dataset())
    with pytest.raises(ConflictError, match=r"1 active job"), store.write() as tx:
        tx.datasets.delete("ds-1")
    with store.write() as tx:
        tx.jobs.save(job.evolve(status=JobStatus.COMPLETED, version=2), expected_version=1)
        tx.datasets.delete("ds-1")
    with store.read() as tx:
        assert tx.datasets.find_all() == []
        assert tx.jobs.get(job.id).dataset_id == "ds-1"
    with pytest.raises(NotFoundError), store.write() as tx:
        tx.datasets.delete("ds-1")


def test_models_are_listed_without_detail_and_got_with_it(store: Store) -> None:
    old, new = a_model(), a_model(name="net", version=2, created_at=NOW + timedelta(seconds=1), bundle_hash="h")
    with store.write() as tx:
        tx.models.add(old)
        tx.models.add(new)
    with store.read() as tx:
        listed = tx.models.find_all()
        assert [model.id for model in listed] == [new.id, old.id]
        assert not hasattr(listed[0], "training_config")
        assert tx.models.get(old.id) == old
        assert tx.models.find_by_bundle_hash("h") == new
        assert tx.models.find_by_bundle_hash("other") is None
        assert tx.models.next_version("net") == 3
        assert tx.models.next_version("fresh") == 1


def test_a_model_is_renamed_and_deleted(store: Store) -> None:
    first, second = a_model(), a_model(name="other")
    with store.write() as tx:
        tx.models.add(first)
        tx.models.add(second)
    with store.write() as tx:
        tx.models.rename(first.id, name="other", version=2)
    with store.read() as tx:
        assert tx.models.get(first.id) == first.evolve(name="other", version=2)
        assert {(model.name, model.version) for model in tx.models.find_all()} == {("other", 1), ("other", 2)}
    with pytest.raises(ConflictError), store.write() as tx:
        tx.models.rename(first.id, name="other", version=1)
    with pytest.raises(NotFoundError), store.write() as tx:
        tx.models.rename("nope", name="x", version=1)
    with store.write() as tx:
        tx.models.delete(first.id)
    with pytest.raises(NotFoundError), store.write() as tx:
        tx.models.delete(first.id)


@pytest.mark.parametrize("changes", [{"bundle_hash": "h", "version": 2}, {"bundle_hash": "other"}])
def test_the_same_bundle_or_name_and_version_is_stored_once(store: Store, changes: dict[str, Any]) -> None:
    with store.write() as tx:
        tx.models.add(a_model(bundle_hash="h"))
    with pytest.raises(ConflictError), store.write() as tx:
        tx.models.add(a_model(**changes))


def test_versions_of_a_name_are_given_once_under_concurrency(backend: Any) -> None:
    def add_next(store: Store) -> None:
        for _ in range(5):
            with store.write() as tx:
                tx.models.add(a_model(version=tx.models.next_version("net")))

    threads = [threading.Thread(target=add_next, args=(backend.open(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    with backend.open().read() as tx:
        assert sorted(model.version for model in tx.models.find_all()) == list(range(1, 16))


def test_errors_are_of_the_one_tree(store: Store) -> None:
    job = add(store, a_job())
    with pytest.raises(HeimdallError), store.write() as tx:
        tx.jobs.add(job)
    assert not issubclass(ConflictError, UnavailableError)
