"""What every store promises of jobs: compare-and-set, claims with a fencing token, pages of the list."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from heimdall.domain.errors import (
    ConflictError,
    InvalidInputError,
    LeaseLostError,
    NotFoundError,
)
from heimdall.domain.events import EventType
from heimdall.domain.jobs import Checkpoint, Claim, DeviceInfo, Job, JobStatus, PendingAction
from heimdall.domain.ports import HeldLease, JobQuery, Stamp, Store
from tests.contract.samples import NOW, a_dataset, a_job, a_metric, add, an_update, claim

# Jobs


def test_a_job_comes_back_as_it_was(store: Store) -> None:
    job = a_job(
        name="Übung „a%_b“",
        started_at=NOW,
        best_val_loss=0.1 + 0.2,
        best_epoch=3,
        error_message="line",
        error_detail="Traceback\n  …",
        device=DeviceInfo(kind="cpu", name="x", threads=2),
        pending_action=PendingAction.PAUSE,
        resume_is_exact=True,
        checkpoint={
            "key": "checkpoints/a/b", "sha256": "f" * 64, "size_bytes": 5, "epoch": 1, "step": 9, "attempt": 1, "created_at": NOW,
        },
    )  # fmt: skip
    add(store, job)
    with store.read() as tx:
        assert tx.jobs.get(job.id) == job


def test_characters_a_database_cannot_hold_do_no_harm(store: Store) -> None:
    job = a_job(error_message="bad \x00 and \ud800 text")
    add(store, job)
    with store.read() as tx:
        assert tx.jobs.get(job.id).error_message == "bad \ufffd and \ufffd\ufffd\ufffd text" or store.__class__.__name__ == "MemoryStore"
        assert tx.jobs.find(JobQuery(text="\x00")).total == 0
        with pytest.raises(NotFoundError):
            tx.jobs.get("\x00")


def test_an_unknown_job_is_named(store: Store) -> None:
    with store.read() as tx, pytest.raises(NotFoundError, match="no job 'nope'"):
        tx.jobs.get("nope")


def test_an_idempotency_key_creates_once_and_finds_the_first(store: Store) -> None:
    first, second = a_job(), a_job()
    add(store, first, idempotency_key="k", fingerprint="f1")
    with store.write() as tx:
        with pytest.raises(ConflictError):
            tx.jobs.add(second, idempotency_key="k", fingerprint="f2")
        # The transaction stays usable: the caller looks the first one up.
        assert tx.jobs.find_idempotent("k") == (first, "f1")
    with store.read() as tx:
        assert tx.jobs.find_idempotent("other") is None
        assert tx.jobs.find(JobQuery()).total == 1


def test_two_creates_under_one_key_at_once_give_one_job(backend: Any) -> None:
    stores = [backend.open(), backend.open()]
    outcomes: list[str] = []
    barrier = threading.Barrier(2)

    def create(store: Store) -> None:
        barrier.wait(timeout=10)
        try:
            add(store, a_job(), idempotency_key="same")
            outcomes.append("new")
        except ConflictError:
            outcomes.append("conflict")

    threads = [threading.Thread(target=create, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(outcomes) == ["conflict", "new"]


def test_save_is_a_compare_and_set(store: Store) -> None:
    job = add(store, a_job())
    with store.write() as tx:
        tx.jobs.save(job.evolve(version=2, status=JobStatus.PAUSED), expected_version=1)
    with pytest.raises(ConflictError, match="now paused"), store.write() as tx:
        tx.jobs.save(job.evolve(version=2, status=JobStatus.CANCELLED), expected_version=1)
    with pytest.raises(NotFoundError), store.write() as tx:
        tx.jobs.save(a_job(version=2), expected_version=1)
    with pytest.raises(ValueError, match="higher version"), store.write() as tx:
        tx.jobs.save(job, expected_version=1)
    with store.read() as tx:
        assert tx.jobs.get(job.id).status is JobStatus.PAUSED


def test_a_job_is_claimed_once(store: Store) -> None:
    job = add(store, a_job())
    with store.write() as tx:
        taken = tx.jobs.claim(job.id, worker_id="w1", lease_until=NOW, now=NOW)
        assert tx.jobs.claim(job.id, worker_id="w2", lease_until=NOW, now=NOW) is None
        assert tx.jobs.claim("nope", worker_id="w2", lease_until=NOW, now=NOW) is None
    assert taken is not None
    assert (taken.status, taken.attempt, taken.last_seq, taken.version) == (JobStatus.RUNNING, 1, 1, 2)
    assert taken.started_at == taken.worker_seen_at == taken.status_changed_at == NOW
    with store.read() as tx:
        assert tx.jobs.get(job.id) == taken


def test_a_job_that_shall_pause_is_not_claimed(store: Store) -> None:
    job = add(store, a_job(pending_action=PendingAction.PAUSE))
    with store.write() as tx:
        assert tx.jobs.claim(job.id, worker_id="w1", lease_until=NOW, now=NOW) is None


def test_many_workers_claim_one_job_once(backend: Any) -> None:
    job = add(backend.open(), a_job())
    stores = [backend.open() for _ in range(4)]
    barrier, winners = threading.Barrier(len(stores)), []

    def try_claim(number: int) -> None:
        barrier.wait(timeout=10)
        with stores[number].write() as tx:
            if tx.jobs.claim(job.id, worker_id=str(number), lease_until=NOW, now=NOW):
                winners.append(number)

    threads = [threading.Thread(target=try_claim, args=(number,)) for number in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(winners) == 1


CLAIMED_ACTS = ("heartbeat", "read_control", "check_claim", "record_progress", "read_checkpoint", "point_to")


def test_the_fencing_token_guards_every_write(store: Store) -> None:
    job = add(store, a_job())
    token = claim(store, job)
    stale = [token.model_copy(update=change) for change in ({"attempt": 0}, {"worker_id": "w9"}, {"job_id": "x"})]
    for wrong in stale:
        for act in CLAIMED_ACTS:
            with pytest.raises(LeaseLostError), store.write() as tx:
                use_claim(tx, act, wrong)
    for act in CLAIMED_ACTS:
        with store.write() as tx:
            use_claim(tx, act, token)
    with store.write() as tx:
        current = tx.jobs.get(job.id, lock=True)
        tx.jobs.save(current.evolve(status=JobStatus.CANCELLED, version=current.version + 1), expected_version=current.version)
    for act in CLAIMED_ACTS:
        with pytest.raises(LeaseLostError), store.write() as tx:
            use_claim(tx, act, token)


def use_claim(tx: Any, act: str, token: Claim) -> object:
    if act == "heartbeat":
        return tx.jobs.heartbeat(token, lease_until=NOW, now=NOW)
    if act == "record_progress":
        return tx.jobs.record_progress(token, an_update())
    if act == "point_to":
        return tx.jobs.point_to(token, a_checkpoint())
    return getattr(tx.jobs, act)(token)


def a_checkpoint(**changes: Any) -> Checkpoint:
    values = {"key": "checkpoints/a/b", "sha256": "f" * 64, "size_bytes": 5, "epoch": 1, "step": 9, "attempt": 1, "created_at": NOW}
    return Checkpoint(**{**values, **changes})


def test_a_job_points_to_its_newest_checkpoint_and_nothing_else_of_it_changes(store: Store) -> None:
    job = add(store, a_job())
    token = claim(store, job)
    with store.read() as tx:
        before = tx.jobs.get(job.id)
    newest = a_checkpoint(write_s=0.25, previous=a_checkpoint(key="checkpoints/a/a").as_previous())
    with store.write() as tx:
        assert tx.jobs.read_checkpoint(token) is None
        tx.jobs.point_to(token, newest)
        assert tx.jobs.read_checkpoint(token) == newest
    with store.read() as tx:
        assert tx.jobs.get(job.id) == before.evolve(checkpoint=newest, version=before.version + 1)


def test_a_heartbeat_prolongs_and_tells_what_was_asked(store: Store) -> None:
    job = add(store, a_job())
    token = claim(store, job, lease_until=NOW)
    later = NOW + timedelta(seconds=30)
    with store.write() as tx:
        assert tx.jobs.heartbeat(token, lease_until=later, now=later) is None
        current = tx.jobs.get(job.id)
        assert current.worker_seen_at == later
        assert current.version == 2
        tx.jobs.save(current.evolve(pending_action=PendingAction.CANCEL, version=3), expected_version=2)
        assert tx.jobs.heartbeat(token, lease_until=later, now=later) is PendingAction.CANCEL
        assert tx.jobs.read_control(token) is PendingAction.CANCEL
        assert tx.jobs.list_leases() == tx.jobs.list_leases(job.id) == [HeldLease(job.id, token.worker_id, (1, later))]
        assert tx.jobs.list_leases("nobody") == []


def test_progress_is_one_numbered_change(store: Store) -> None:
    job = add(store, a_job())
    token = claim(store, job)
    device = DeviceInfo(kind="cpu", name="x")
    with store.write() as tx:
        tx.jobs.count_loss(job.id)
        assert tx.jobs.record_progress(token, an_update(device=device)) == Stamp(seq=2, version=3)
        assert tx.jobs.record_progress(token, an_update(current_epoch=4, progress_percent=100.0000001)) == Stamp(seq=3, version=4)
        asked = tx.jobs.get(job.id).evolve(pending_action=PendingAction.PAUSE, version=5)
        tx.jobs.save(asked, expected_version=4)
        assert tx.jobs.record_progress(token, an_update(current_epoch=4, progress_percent=100.0)) == Stamp(4, 6, PendingAction.PAUSE)
        assert tx.jobs.record_progress(token, an_update(current_epoch=4, progress_percent=100.0), num_events=3) == Stamp(
            7, 9, PendingAction.PAUSE
        )
    with store.read() as tx:
        current = tx.jobs.get(job.id)
    assert (current.current_epoch, current.progress_percent, current.last_seq, current.version) == (4, 100.0, 7, 9)
    assert (current.best_epoch, current.best_val_loss, current.best_val_error_median_m) == (2, 0.25, 120.5)
    assert current.estimated_completion == NOW
    assert current.device == device
    with store.write() as tx:
        assert tx.jobs.count_loss(job.id) == 1


def test_a_loss_that_is_no_number_is_never_the_best(store: Store) -> None:
    job = add(store, a_job())
    token = claim(store, job)
    with store.write() as tx:
        tx.jobs.record_progress(token, an_update(best_val_loss=float("nan"), best_val_error_median_m=float("inf")))
    with store.read() as tx:
        assert tx.jobs.get(job.id).best_val_loss is None
        assert tx.jobs.get(job.id).best_val_error_median_m is None


def test_losses_count_up_until_reset(store: Store) -> None:
    job = add(store, a_job())
    claim(store, job, lease_until=NOW)
    with store.write() as tx:
        assert [tx.jobs.count_loss(job.id), tx.jobs.count_loss(job.id)] == [1, 2]
        tx.jobs.reset_losses(job.id)
        assert tx.jobs.count_loss(job.id) == 1


def test_a_released_job_is_free_for_the_next_worker(store: Store) -> None:
    job = add(store, a_job())
    token = claim(store, job)
    with store.write() as tx:
        tx.jobs.mark_enqueued(job.id, next_enqueue_at=NOW + timedelta(hours=1))
        current = tx.jobs.get(job.id)
        tx.jobs.save(current.evolve(status=JobStatus.PENDING, version=current.version + 1), expected_version=current.version)
        tx.jobs.release(job.id)
        assert tx.jobs.list_to_enqueue(NOW, latest=NOW + timedelta(minutes=1)) == [job.id]
    second = claim(store, job, "w2")
    assert second.attempt == 2
    with store.read() as tx, pytest.raises(LeaseLostError):
        tx.jobs.read_control(token)


def test_only_pending_jobs_due_are_enqueued_oldest_first(store: Store) -> None:
    old = add(store, a_job(created_at=NOW - timedelta(hours=1)))
    new = add(store, a_job())
    add(store, a_job(pending_action=PendingAction.PAUSE))
    add(store, a_job(status=JobStatus.PAUSED))
    with store.write() as tx:
        assert tx.jobs.list_to_enqueue(NOW, latest=NOW + timedelta(minutes=1)) == [old.id, new.id]
        assert tx.jobs.list_to_enqueue(NOW, latest=NOW + timedelta(minutes=1), limit=1) == [old.id]
        tx.jobs.mark_enqueued(old.id, next_enqueue_at=NOW + timedelta(seconds=5))
        assert tx.jobs.list_to_enqueue(NOW, latest=NOW + timedelta(minutes=1)) == [new.id]
        assert tx.jobs.list_to_enqueue(NOW + timedelta(seconds=5), latest=NOW + timedelta(minutes=1)) == [old.id, new.id]
        assert tx.jobs.list_to_enqueue(NOW, latest=NOW + timedelta(seconds=4)) == [old.id, new.id], "a clock was set back"


def test_deleting_a_job_leaves_only_the_record_of_it(store: Store) -> None:
    job, other = add(store, a_job()), add(store, a_job())
    with store.write() as tx:
        for item in (job, other):
            tx.metrics.put(a_metric(item.id, 1))
            tx.logs.append(item.id, ["x"], now=NOW)
            tx.events.append(item.id, seq=1, type=EventType.UPDATED, payload={}, now=NOW)
    with store.write() as tx:
        tx.jobs.delete(job.id)
        tx.events.append(job.id, seq=2, type=EventType.DELETED, payload={}, now=NOW)
    with store.read(settled=True) as tx:
        assert tx.metrics.find(job.id) == []
        assert tx.logs.find(job.id) == []
        assert [event.type for event in tx.events.list_of_job(job.id)] == [EventType.DELETED]
        assert [(event.job_id, event.position) for event in tx.events.read_page().events] == [(other.id, 2), (job.id, 3)]
        assert len(tx.metrics.find(other.id)) == 1
    with pytest.raises(NotFoundError), store.write() as tx:
        tx.jobs.delete(job.id)


def test_the_order_of_delete_and_its_event_does_not_matter(store: Store) -> None:
    job = add(store, a_job())
    with store.write() as tx:
        tx.events.append(job.id, seq=1, type=EventType.DELETED, payload={}, now=NOW)
        tx.jobs.delete(job.id)
    with store.read(settled=True) as tx:
        assert [event.type for event in tx.events.read_page().events] == [EventType.DELETED]


# The list


@pytest.mark.parametrize("sort", ["newest", "oldest", "name", "status", "progress", "best_val_loss"])
def test_pages_hold_every_job_once_while_jobs_are_added(store: Store, sort: Any) -> None:
    statuses = list(JobStatus)
    jobs = [
        a_job(
            name=f"Job {number % 3}",
            created_at=NOW + timedelta(seconds=number // 2),
            status=statuses[number % 6],
            progress_percent=float(number % 4 * 25),
            best_val_loss=None if number % 3 == 0 else number % 5 / 3,
        )
        for number in range(13)
    ]
    with store.write() as tx:
        for job in jobs:
            tx.jobs.add(job)
    seen: list[Job] = []
    cursor = None
    while True:
        with store.read() as tx:
            page = tx.jobs.find(JobQuery(sort=sort, limit=4, cursor=cursor))
        seen.extend(page.items)
        # A newcomer in front, behind or between must neither repeat nor hide an old one.
        add(store, a_job(name=f"Job {len(seen) % 3}", created_at=NOW + timedelta(seconds=len(seen)), progress_percent=50.0))
        cursor = page.next_cursor
        if cursor is None:
            break
    ids = [job.id for job in seen]
    assert len(ids) == len(set(ids))
    assert set(ids) >= {job.id for job in jobs}


def test_each_sort_orders_as_named(store: Store) -> None:
    a = add(store, a_job(name="beta", created_at=NOW, status=JobStatus.COMPLETED, progress_percent=100, best_val_loss=0.5))
    b = add(store, a_job(name="Alpha", created_at=NOW + timedelta(seconds=1), status=JobStatus.RUNNING, progress_percent=10))
    c = add(store, a_job(name="ähre", created_at=NOW + timedelta(seconds=2), status=JobStatus.FAILED, best_val_loss=-0.5))
    expected = {
        "newest": [c, b, a], "oldest": [a, b, c], "name": [b, a, c], "status": [b, c, a], "progress": [a, b, c], "best_val_loss": [c, a, b],
    }  # fmt: skip
    with store.read() as tx:
        for sort, jobs in expected.items():
            assert [job.id for job in tx.jobs.find(JobQuery(sort=sort)).items] == [job.id for job in jobs], sort  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["100%", "a_b", "LIGHT", "ÜB", "alps", "deepsets", "ds-1"])
def test_text_is_found_literally_and_whatever_its_case(store: Store, text: str) -> None:
    with store.write() as tx:
        tx.datasets.add(a_dataset(name="The Alps"))
        tx.jobs.add(a_job(name="first light 100% a_b übung"))
        tx.jobs.add(a_job(name="other 1000 aXb", dataset_id="elsewhere"))
    with store.read() as tx:
        found = tx.jobs.find(JobQuery(text=text))
    expected = 2 if text == "deepsets" else 1
    assert found.total == len(found.items) == expected
    assert any(job.name.startswith("first") for job in found.items)


def test_filters_combine_and_total_counts_what_matches(store: Store) -> None:
    for number in range(5):
        add(store, a_job(name=f"n{number}", status=JobStatus.PAUSED if number % 2 else JobStatus.FAILED))
    with store.read() as tx:
        page = tx.jobs.find(JobQuery(statuses=frozenset({JobStatus.FAILED}), limit=2))
        assert (page.total, len(page.items)) == (3, 2)
        assert tx.jobs.find(JobQuery(statuses=frozenset({JobStatus.FAILED}), text="n1")).total == 0
        assert tx.jobs.find(JobQuery(dataset_id="ds-1")).total == 5
        assert tx.jobs.find(JobQuery(dataset_id="ds-2")).total == 0
        counts = tx.jobs.count_by_status()
    assert counts[JobStatus.FAILED] == 3
    assert counts[JobStatus.RUNNING] == 0
    assert set(counts) == set(JobStatus)


@pytest.mark.parametrize("cursor", ["", "garbage", "!!!", "bnVsbA", "W10", "WyJuZXdlc3QiLDEsMl0", "ä", "[]"])
def test_a_cursor_that_was_not_made_here_is_refused(store: Store, cursor: str) -> None:
    with store.read() as tx, pytest.raises(InvalidInputError) as caught:
        tx.jobs.find(JobQuery(cursor=cursor))
    assert caught.value.field == "cursor"


def test_a_cursor_of_another_order_is_refused(store: Store) -> None:
    for _ in range(3):
        add(store, a_job())
    with store.read() as tx:
        cursor = tx.jobs.find(JobQuery(limit=1)).next_cursor
        with pytest.raises(InvalidInputError):
            tx.jobs.find(JobQuery(limit=1, sort="oldest", cursor=cursor))


def test_the_fingerprint_changes_with_every_change(store: Store) -> None:
    seen = set()

    def look() -> None:
        with store.read(settled=True) as tx:
            value = tx.jobs.fingerprint()
            assert value == tx.jobs.fingerprint()
        assert value not in seen
        seen.add(value)

    look()
    job = add(store, a_job())
    look()
    token = claim(store, job)
    look()
    with store.write() as tx:
        stamp = tx.jobs.record_progress(token, an_update())
        tx.events.append(job.id, seq=stamp.seq, type=EventType.PROGRESS, payload={}, now=NOW)  # a new number always has its event
    look()
    with store.write() as tx:
        tx.jobs.delete(job.id)
        tx.events.append(job.id, seq=3, type=EventType.DELETED, payload={}, now=NOW)
    look()
