"""The list's totals and its validator come from kept counts, on every store the same as counting: after anything, and with many writers."""

from __future__ import annotations

import random
import threading
from collections import Counter
from contextlib import suppress

import pytest

from heimdall.domain.errors import HeimdallError, LockedError
from heimdall.domain.events import EventType
from heimdall.domain.jobs import JobStatus
from heimdall.domain.ports import JobQuery, Store
from tests.contract.conftest import Backend
from tests.contract.samples import NOW, a_job, add, an_update, claim

STATES = list(JobStatus)
MOST_KEPT = 200
"""Rows of counts that may wait to be folded: a reader sums them all up."""


class _GivenUp(Exception):
    """Ends a transaction without its commit."""


def act(store: Store, chance: random.Random, known: list[str]) -> None:
    """Do one thing that may change a count: add, move, delete, change without an event, progress; one time in five give it up."""
    with suppress(_GivenUp), store.write() as tx:
        what = chance.choice(["add", "add", "move", "move", "silent", "delete"]) if known else "add"
        name = chance.choice(known) if known else ""
        if what == "add":
            jobs = [a_job(status=chance.choice(STATES)) for _ in range(chance.randint(1, 3))]
            for job in jobs:
                tx.jobs.add(job)
        elif what == "delete":
            tx.jobs.delete(name)
        else:
            job = tx.jobs.get(name, lock=True)
            changes = {"status": chance.choice(STATES)} if what == "move" else {"notice": str(chance.random())}
            tx.jobs.save(job.evolve(version=job.version + 1, **changes), expected_version=job.version)
        if chance.random() < 0.2:
            raise _GivenUp
        if what == "add":
            known.extend(job.id for job in jobs)
        elif what == "delete":
            known.remove(name)


def check_counts(store: Store) -> None:
    """Compare what the store says of its numbers with the jobs themselves."""
    counted: Counter[JobStatus] = Counter()
    with store.read() as tx:
        cursor = None
        while True:
            page = tx.jobs.find(JobQuery(limit=200, cursor=cursor))
            counted.update(job.status for job in page.items)
            if (cursor := page.next_cursor) is None:
                break
        assert tx.jobs.count_by_status() == {status: counted[status] for status in JobStatus}
        assert page.total == counted.total()
        for status in JobStatus:
            assert tx.jobs.find(JobQuery(statuses=frozenset({status}))).total == counted[status]


@pytest.mark.parametrize("seed", [1, 2])
def test_kept_counts_are_the_counted_ones_after_random_acts(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    known: list[str] = []
    for number in range(300):
        act(store, chance, known)
        if number % 50 == 0:
            check_counts(store)
    check_counts(store)


def test_kept_counts_are_the_counted_ones_after_many_writers(backend: Backend) -> None:
    failures: list[Exception] = []

    def write(seed: int) -> None:
        store, chance, mine = backend.open(), random.Random(seed), []
        try:
            num_done = 0
            while num_done < 100:
                with suppress(LockedError):  # six connections to one file, on a busy machine: told to try again, as in the product
                    act(store, chance, mine)
                    num_done += 1
        except Exception as error:  # noqa: BLE001  (it is the test's own thread to fail)
            failures.append(error)

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    check_counts(backend.open())


def test_two_who_wait_for_each_others_jobs_do_not_wait_for_the_counts(backend: Backend) -> None:
    """One transaction stays open over a change of state; another one's change of state is committed meanwhile."""
    if backend.kind != "postgresql":
        pytest.skip("one writer at a time")
    first, second = backend.open(), backend.open()
    jobs = [add(first, a_job()) for _ in range(2)]
    with first.write() as tx:
        tx.jobs.save(jobs[0].evolve(status=JobStatus.PAUSED, version=jobs[0].version + 1), expected_version=jobs[0].version)
        with second.write() as other:
            other.jobs.save(jobs[1].evolve(status=JobStatus.FAILED, version=jobs[1].version + 1), expected_version=jobs[1].version)
        with second.read() as other:
            assert other.jobs.count_by_status()[JobStatus.PENDING] == 1
    check_counts(second)


def test_few_rows_of_counts_are_kept(backend: Backend) -> None:
    if backend.kind == "memory":
        pytest.skip("counts itself")
    store = backend.open()
    for _ in range(5):
        with store.write() as tx:
            for _ in range(100):
                tx.jobs.add(a_job(status=random.choice(STATES)))
    with store.read() as tx:
        kept = tx.connection.exec_driver_sql("SELECT count(*) FROM job_changes").scalar()  # type: ignore[attr-defined]
    assert kept is not None
    assert 0 < kept <= MOST_KEPT
    check_counts(store)


def test_the_validator_changes_with_what_no_event_tells(store: Store) -> None:
    job = add(store, a_job())
    token = claim(store, job)
    seen = set()
    for number in range(150):
        with store.read(settled=True) as tx:
            job = tx.jobs.get(job.id)
            seen.add(tx.jobs.fingerprint())
        with store.write() as tx:
            tx.jobs.save(job.evolve(version=job.version + 1, notice=str(number)), expected_version=job.version)
    assert len(seen) == 150
    with store.read(settled=True) as tx:
        before = tx.jobs.fingerprint()
    with store.write() as tx:
        tx.jobs.heartbeat(token, lease_until=NOW, now=NOW)
    with store.read(settled=True) as tx:
        assert tx.jobs.fingerprint() == before, "a sign of life is no change of the list"


def test_a_change_that_is_committed_late_changes_the_validator(backend: Backend) -> None:
    """Its number is lower than that of a change which readers have seen before."""
    if backend.kind != "postgresql":
        pytest.skip("one writer at a time")
    first, second = backend.open(), backend.open()
    jobs = [add(first, a_job()) for _ in range(2)]
    with first.write() as tx:
        tx.jobs.save(jobs[0].evolve(notice="early", version=jobs[0].version + 1), expected_version=jobs[0].version)
        with second.write() as other:
            other.jobs.save(jobs[1].evolve(notice="late", version=jobs[1].version + 1), expected_version=jobs[1].version)
        with second.read(settled=True) as other:
            before = other.jobs.fingerprint()
    with second.read(settled=True) as other:
        assert other.jobs.fingerprint() != before


def test_a_failed_create_counts_nothing(store: Store) -> None:
    add(store, a_job(), idempotency_key="k")
    with pytest.raises(HeimdallError):
        add(store, a_job(), idempotency_key="k")
    check_counts(store)
    with store.read() as tx:
        assert tx.jobs.find(JobQuery()).total == 1


def test_an_epoch_changes_the_validator_and_no_count(store: Store) -> None:
    job = add(store, a_job())
    token = claim(store, job)
    with store.read(settled=True) as tx:
        before, counts = tx.jobs.fingerprint(), tx.jobs.count_by_status()
    with store.write() as tx:
        stamp = tx.jobs.record_progress(token, an_update())
        tx.events.append(job.id, seq=stamp.seq, type=EventType.PROGRESS, payload={}, now=NOW)
    with store.read(settled=True) as tx:
        assert tx.jobs.fingerprint() != before
        assert tx.jobs.count_by_status() == counts
