from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from heimdall.domain.datasets import DatasetStatus, Split
from heimdall.domain.errors import ConflictError, IllegalTransitionError, InvalidInputError, LeaseLostError, NotFoundError
from heimdall.domain.jobs import FINAL_STATUSES, Claim, JobStatus, PendingAction
from heimdall.domain.ports import JobQuery
from tests.unit.services.job_bench import JobBench, disk_full, make_draft


@pytest.fixture
def bench() -> JobBench:
    return JobBench()


def test_a_created_job_is_pending_has_its_first_event_and_woke_a_worker(bench: JobBench) -> None:
    job, is_new = bench.jobs.create(bench.config())
    frames, last_seq = bench.jobs.events(job.id, since=0)
    assert is_new
    assert (job.status, job.total_epochs, job.last_seq) == (JobStatus.PENDING, 10, 1)
    assert [(frame.seq, frame.data["reason"], frame.data["status"], frame.data["job"]["id"]) for frame in frames] == [
        (1, "created", "pending", job.id)
    ]
    assert last_seq == 1
    assert list(bench.queue.jobs) == [(job.id, False)]


def test_the_same_idempotency_key_and_body_give_the_first_job(bench: JobBench) -> None:
    first, _ = bench.jobs.create(bench.config(), idempotency_key="k")
    again, is_new = bench.jobs.create(bench.config(), idempotency_key="k")
    assert (again.id, is_new) == (first.id, False)
    assert bench.jobs.find(JobQuery()).total == 1
    assert len(bench.queue.jobs) == 1


def test_the_same_idempotency_key_with_another_body_is_a_conflict(bench: JobBench) -> None:
    bench.jobs.create(bench.config(), idempotency_key="k")
    with pytest.raises(ConflictError) as caught:
        bench.jobs.create(bench.config(epochs=11), idempotency_key="k")
    assert caught.value.code == "idempotency_conflict"


def test_two_creates_that_race_under_one_key_give_one_job(bench: JobBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other request commits between this one's look and its insert."""
    find = bench.jobs._find_idempotent
    first_ids: list[str] = []

    def look_then_lose(key: str, fingerprint: str) -> object:
        known = find(key, fingerprint)
        if not first_ids:
            first_ids.append("pending")
            first_ids[0] = bench.jobs.create(bench.config(), idempotency_key=key)[0].id
        return known

    monkeypatch.setattr(bench.jobs, "_find_idempotent", look_then_lose)
    job, is_new = bench.jobs.create(bench.config(), idempotency_key="k")
    assert (job.id, is_new) == (first_ids[0], False)


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"device": "cuda"}, "device", "no CUDA"),
        ({"precision": "fp16"}, "precision", "fp16 needs"),
        ({"precision": "fp16", "device": "cpu"}, "precision", "fp16 needs"),
        ({"validation_split": 0.2, "validation_fold": 5}, "validation_fold", "0 to 4"),
        ({"validation_split": 0.5, "validation_fold": 2}, "validation_fold", "0 to 1"),
        ({"dataset_id": "nowhere"}, "dataset_id", "no data set"),
        ({"model_architecture": "giant"}, "model_architecture", "deepsets-s"),
    ],
)
def test_a_config_that_does_not_fit_names_its_field(bench: JobBench, changes: dict[str, object], field: str, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words) as caught:
        bench.create(**changes)
    assert caught.value.field == field
    assert bench.jobs.find(JobQuery()).total == 0


@pytest.mark.parametrize(("split", "fold"), [(0.2, 4), (0.05, 19), (0.1, 9), (0.3, 2)])
def test_the_last_fold_of_a_split_is_taken(bench: JobBench, split: float, fold: int) -> None:
    assert bench.create(validation_split=split, validation_fold=fold).config.validation_fold == fold


def test_a_network_over_samples_needs_a_data_set_that_keeps_them(bench: JobBench) -> None:
    with pytest.raises(InvalidInputError, match="works on samples, and the data set 'Campus' keeps none") as caught:
        bench.create(model_architecture="iq-encoder")
    assert caught.value.field == "model_architecture"
    keeps = bench.add_dataset(config={"keep_iq": True}).id
    assert bench.create(dataset_id=keeps, model_architecture="iq-encoder").config.dataset_id == keeps
    assert bench.create(dataset_id=keeps, model_architecture="deepsets-s").config.dataset_id == keeps


@pytest.mark.parametrize("status", [DatasetStatus.BUILDING, DatasetStatus.FAILED])
def test_a_data_set_that_is_not_ready_is_refused_with_its_status(bench: JobBench, status: DatasetStatus) -> None:
    with pytest.raises(InvalidInputError, match=f"is {status}") as caught:
        bench.create(dataset_id=bench.add_dataset(status).id)
    assert caught.value.field == "dataset_id"


def test_with_cuda_the_job_goes_to_the_gpu_queue() -> None:
    bench = JobBench(has_cuda=True)
    job = bench.create(device="cuda", precision="fp16")
    assert list(bench.queue.jobs) == [(job.id, True)]


def test_a_broker_that_is_away_leaves_the_job_pending(bench: JobBench) -> None:
    bench.queue.is_away = True
    job = bench.create()
    assert bench.jobs.get(job.id).status is JobStatus.PENDING
    assert not bench.queue.jobs


def test_pausing_a_running_job_asks_its_worker_once(bench: JobBench) -> None:
    job = bench.create()
    claim = bench.claim(job)
    asked = bench.jobs.pause(job.id)
    again = bench.jobs.pause(job.id)
    assert (asked.status, asked.pending_action) == (JobStatus.RUNNING, PendingAction.PAUSE)
    assert again == asked
    assert bench.attempts.read_control(claim) is PendingAction.PAUSE
    assert bench.jobs.events(job.id, since=2)[0][0].data["reason"] == "pause_requested"


def test_cancel_overrides_a_pause_that_was_asked_for(bench: JobBench) -> None:
    job = bench.create()
    claim = bench.claim(job)
    bench.jobs.pause(job.id)
    assert bench.jobs.cancel(job.id).pending_action is PendingAction.CANCEL
    with pytest.raises(IllegalTransitionError, match=r"running.*paused"):
        bench.jobs.pause(job.id)
    assert bench.attempts.finish_paused(claim).status is JobStatus.CANCELLED


def test_a_pending_job_is_paused_resumed_and_cancelled_at_once(bench: JobBench) -> None:
    job = bench.create()
    assert bench.jobs.pause(job.id).status is JobStatus.PAUSED
    assert bench.jobs.resume(job.id).status is JobStatus.PENDING
    cancelled = bench.jobs.cancel(job.id)
    assert cancelled.status is JobStatus.CANCELLED
    assert cancelled.completed_at == bench.clock.now()
    assert bench.event_types(job.id) == ["training_updated", "training_paused", "training_updated", "training_cancelled"]
    assert [sent for sent, _ in bench.queue.jobs] == [job.id, job.id]


def test_resuming_a_job_that_is_still_pausing_says_so(bench: JobBench) -> None:
    job = bench.create()
    bench.claim(job)
    bench.jobs.pause(job.id)
    with pytest.raises(IllegalTransitionError, match=r"running and cannot become pending.*still pausing"):
        bench.jobs.resume(job.id)


def put_in(bench: JobBench, status: JobStatus) -> str:
    job = bench.create()
    if status is JobStatus.PENDING:
        return job.id
    if status is JobStatus.CANCELLED:
        bench.jobs.cancel(job.id)
        return job.id
    claim = bench.claim(job)
    if status is JobStatus.PAUSED:
        bench.attempts.finish_paused(claim)
    elif status is JobStatus.FAILED:
        bench.attempts.finish_failed(claim, "It failed.")
    return job.id


@pytest.mark.parametrize(
    ("verb", "status", "target"),
    [
        ("pause", JobStatus.PAUSED, "paused"),
        ("pause", JobStatus.CANCELLED, "paused"),
        ("resume", JobStatus.PENDING, "pending"),
        ("resume", JobStatus.RUNNING, "pending"),
        ("resume", JobStatus.FAILED, "pending"),
        ("cancel", JobStatus.CANCELLED, "cancelled"),
        ("cancel", JobStatus.FAILED, "cancelled"),
        ("delete", JobStatus.RUNNING, "completed, failed or cancelled"),
        ("delete", JobStatus.PAUSED, "completed, failed or cancelled"),
        ("continue_job", JobStatus.RUNNING, "completed, failed or cancelled"),
    ],
)
def test_an_illegal_move_names_both_states_and_changes_nothing(bench: JobBench, verb: str, status: JobStatus, target: str) -> None:
    job_id = put_in(bench, status)
    before = bench.jobs.get(job_id)
    with pytest.raises(IllegalTransitionError) as caught:
        getattr(bench.jobs, verb)(job_id)
    assert str(status) in caught.value.detail
    assert target in caught.value.detail
    assert bench.jobs.get(job_id) == before


@pytest.mark.parametrize("verb", ["get", "pause", "resume", "cancel", "delete", "continue_job", "events", "logs"])
def test_an_unknown_job_is_not_found(bench: JobBench, verb: str) -> None:
    arguments = {"since": 0} if verb in ("events", "logs") else {}
    with pytest.raises(NotFoundError):
        getattr(bench.jobs, verb)("nobody", **arguments)


def test_deleting_takes_row_and_checkpoints_and_leaves_the_model_and_a_last_event(bench: JobBench, tmp_path: Path) -> None:
    job = bench.create()
    claim = bench.claim(job)
    bench.save_checkpoint(claim, tmp_path, 5)
    model = bench.attempts.finish_completed(claim, make_draft(tmp_path))
    last_seq = bench.jobs.get(job.id).last_seq
    bench.jobs.delete(job.id)
    with pytest.raises(NotFoundError):
        bench.jobs.get(job.id)
    assert sorted(bench.artifacts.files) == sorted(
        [model.onnx_path, f"models/{model.id}/evaluation.safetensors", f"models/{model.id}/samples.safetensors"]
    )
    with bench.store.read(settled=True) as tx:
        assert tx.models.get(model.id).training_job_id in (job.id, None)
        newest = tx.events.read_page().events[-1]
    assert (newest.type.value, newest.job_id, newest.seq) == ("training_deleted", job.id, last_seq + 1)


def test_continuing_makes_a_new_job_with_the_curve_and_a_copy_of_the_checkpoint(bench: JobBench, tmp_path: Path) -> None:
    job = bench.create()
    claim = bench.claim(job)
    for epoch in (1, 2, 3):
        bench.record_epoch(claim, epoch)
    bench.save_checkpoint(claim, tmp_path, step=20, epoch=2)
    bench.attempts.finish_failed(claim, "The disk was full.")

    new = bench.jobs.continue_job(job.id, epochs=30, job_name="longer")

    assert (new.name, new.status, new.total_epochs, new.current_epoch, new.continued_from) == ("longer", JobStatus.PENDING, 30, 2, job.id)
    assert new.best_epoch is None, "epoch 3 lies beyond the checkpoint"
    assert new.checkpoint is not None
    assert bench.artifacts.files[new.checkpoint.key] == b"weights at 20"
    with bench.store.read() as tx:
        assert [row.epoch for row in tx.metrics.find(new.id)] == [1, 2]
    assert bench.jobs.get(job.id).status is JobStatus.FAILED
    assert bench.claim(new).attempt == 1


@pytest.mark.parametrize("epochs", [None, 10, 4])
def test_continuing_a_job_that_has_all_its_epochs_asks_for_more(bench: JobBench, tmp_path: Path, epochs: int | None) -> None:
    job = bench.create()
    claim = bench.claim(job)
    bench.save_checkpoint(claim, tmp_path, step=100, epoch=10)
    bench.attempts.finish_cancelled(claim)
    with pytest.raises(InvalidInputError, match="more than 10") as caught:
        bench.jobs.continue_job(job.id, epochs=epochs)
    assert caught.value.field == "epochs"


@pytest.mark.parametrize("fault", ["damaged", "gone"])
def test_continuing_from_a_checkpoint_that_is_not_whole_is_refused_and_leaves_nothing(bench: JobBench, tmp_path: Path, fault: str) -> None:
    job = bench.create()
    claim = bench.claim(job)
    bench.save_checkpoint(claim, tmp_path, step=20, epoch=2)
    bench.attempts.finish_failed(claim, "The disk was full.")
    checkpoint = bench.jobs.get(job.id).checkpoint
    assert checkpoint is not None
    if fault == "damaged":
        bench.artifacts.files[checkpoint.key] = b"weights at 2O"
    else:
        del bench.artifacts.files[checkpoint.key]
    before = dict(bench.artifacts.files)
    with pytest.raises(ConflictError, match=fault) as caught:
        bench.jobs.continue_job(job.id, epochs=30)
    assert caught.value.code == "checkpoint_invalid"
    assert bench.artifacts.files == before
    assert bench.jobs.find(JobQuery()).total == 1


def test_a_data_set_with_too_few_groups_is_refused_before_anything_runs(bench: JobBench) -> None:
    with bench.store.write() as tx:
        dataset = tx.datasets.get(bench.dataset_id)
        split = Split(column="cell", num_groups=4)
        tx.datasets.save(dataset.evolve(split=split, version=dataset.version + 1), expected_version=dataset.version)
    with pytest.raises(InvalidInputError, match=r"4 group\(s\) by cell") as caught:
        bench.create(validation_split=0.2)
    assert caught.value.field == "validation_split"
    assert bench.create(validation_split=0.25).status is JobStatus.PENDING


def test_continuing_without_a_checkpoint_is_a_conflict(bench: JobBench) -> None:
    with pytest.raises(ConflictError, match="failed and has no checkpoint"):
        bench.jobs.continue_job(put_in(bench, JobStatus.FAILED))


def test_a_continuation_that_cannot_be_stored_leaves_no_file(bench: JobBench, tmp_path: Path) -> None:
    job = bench.create()
    claim = bench.claim(job)
    bench.save_checkpoint(claim, tmp_path, step=20, epoch=2)
    bench.attempts.finish_cancelled(claim)
    with bench.store.write() as tx:
        dataset = tx.datasets.get(bench.dataset_id)
        tx.datasets.save(dataset.evolve(status=DatasetStatus.FAILED, version=dataset.version + 1), expected_version=dataset.version)
    before = dict(bench.artifacts.files)
    with pytest.raises(InvalidInputError):
        bench.jobs.continue_job(job.id)
    assert bench.artifacts.files == before


def test_a_disk_that_fills_during_a_continuation_is_said(bench: JobBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = bench.create()
    claim = bench.claim(job)
    bench.save_checkpoint(claim, tmp_path, step=20, epoch=2)
    bench.attempts.finish_cancelled(claim)

    def fail(_key: str) -> None:
        raise disk_full()

    monkeypatch.setattr(bench.artifacts, "write", fail)
    with pytest.raises(type(disk_full())):
        bench.jobs.continue_job(job.id)
    assert bench.jobs.find(JobQuery()).total == 1


class JobMachine(RuleBasedStateMachine):
    """Any order of clicks, deliveries, workers and clocks keeps every promise of a job."""

    job_ids = Bundle("job_ids")
    claims = Bundle("claims")

    @initialize()
    def start(self) -> None:
        self.bench = JobBench(max_attempts=2)
        self.seen: dict[str, tuple[int, JobStatus]] = {}
        self.epochs: dict[str, int] = {}

    def _do(self, call: object, *arguments: object) -> object:
        try:
            return call(*arguments)  # type: ignore[operator]
        except (IllegalTransitionError, LeaseLostError, NotFoundError):
            return None

    @rule(target=job_ids, is_away=st.booleans())
    def create(self, is_away: bool) -> str:
        self.bench.queue.is_away = is_away
        job = self.bench.create()
        self.bench.queue.is_away = False
        return job.id

    @rule(target=claims, job_id=job_ids, worker=st.sampled_from(["w1", "w2"]))
    def deliver(self, job_id: str, worker: str) -> object:
        was = self._status(job_id)
        claimed = self.bench.attempts.claim(job_id, worker)
        assert (claimed is not None) == (was is JobStatus.PENDING)
        return claimed[1] if claimed else multiple()

    @rule(job_id=job_ids, verb=st.sampled_from(["pause", "resume", "cancel"]))
    def click(self, job_id: str, verb: str) -> None:
        self._do(getattr(self.bench.jobs, verb), job_id)

    @rule(claim=claims)
    def beat(self, claim: Claim) -> None:
        self._do(self.bench.attempts.heartbeat, claim)

    @rule(claim=claims)
    def epoch(self, claim: Claim) -> None:
        number = self.epochs.get(claim.job_id, 0) + 1
        try:
            self.bench.record_epoch(claim, min(number, 10))
        except LeaseLostError:
            assert not self._is_held(claim)
            return
        self.epochs[claim.job_id] = min(number, 10)

    @rule(claim=consumes(claims), end=st.sampled_from(["finish_paused", "finish_cancelled", "finish_lost", "hand_back"]))
    def end(self, claim: Claim, end: str) -> None:
        held = self._is_held(claim)
        job = self._do(getattr(self.bench.attempts, end), claim)
        assert (job is not None) == held

    @rule(claim=consumes(claims))
    def fail(self, claim: Claim) -> None:
        self._do(self.bench.attempts.finish_failed, claim, "It failed.", "Traceback")

    @rule(seconds=st.sampled_from([1, 6, 11, 70]))
    def wait_and_sweep(self, seconds: int) -> None:
        self.bench.sweep_for(seconds)

    @rule(seconds=st.sampled_from([-4000.0, -30.0, 30.0, 4000.0]))
    def jump(self, seconds: float) -> None:
        self.bench.clock.jump(seconds)

    @rule(job_id=consumes(job_ids))
    def delete(self, job_id: str) -> None:
        was = self._status(job_id)
        self._do(self.bench.jobs.delete, job_id)
        assert (self._status(job_id) is None) == (was is None or was in FINAL_STATUSES)
        self.seen.pop(job_id, None)

    def _status(self, job_id: str) -> JobStatus | None:
        try:
            return self.bench.jobs.get(job_id).status
        except NotFoundError:
            return None

    def _is_held(self, claim: Claim) -> bool:
        try:
            self.bench.attempts.read_control(claim)
        except LeaseLostError:
            return False
        return True

    @invariant()
    def every_promise_holds(self) -> None:
        if not hasattr(self, "bench"):
            return
        for job in self.bench.jobs.find(JobQuery(limit=200)).items:
            frames, last_seq = self.bench.jobs.events(job.id, since=0)
            assert [frame.seq for frame in frames] == list(range(1, last_seq + 1)), "events are dense"
            assert frames[-1].data["status"] == job.status, "the newest event tells the status"
            assert job.pending_action is None or job.status is JobStatus.RUNNING, "only a running job waits for its worker"
            assert (job.completed_at is not None) == job.status.is_final
            assert (job.error_message is not None) == (job.status is JobStatus.FAILED)
            version, status = self.seen.get(job.id, (0, job.status))
            assert job.version >= version
            assert status not in FINAL_STATUSES or status is job.status, "final stays final"
            assert job.version > version or status is job.status, "no change without a version"
            self.seen[job.id] = (job.version, job.status)


JobMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=timedelta(seconds=5))
TestJobMachine = JobMachine.TestCase
