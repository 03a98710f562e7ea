"""The lease as a model: two workers, each with a sweeper, wall clocks that jump, processes that freeze. And mutants that it must find."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from heimdall.domain.errors import LeaseLostError
from heimdall.domain.jobs import Claim, Job, JobStatus
from heimdall.services.sweeper import Sweeper
from heimdall.storage.memory_jobs import MemoryJobs
from heimdall.storage.memory_state import JobRow
from tests.unit.services.job_bench import JobBench

WORKERS = ("w1", "w2")
LEASE_S = 10
HEARTBEAT_S = 2


class LeaseMachine(RuleBasedStateMachine):
    """Real services; the model knows who beat when, by a clock nobody can set."""

    @initialize()
    def start(self) -> None:
        self.bench = JobBench(max_attempts=1000)
        self.job = self.bench.create()
        self.sweepers = {name: self.bench.make_sweeper() for name in WORKERS}
        self.claims: list[tuple[str, Claim]] = []
        self.frozen: set[str] = set()
        self.slept_s = dict.fromkeys(WORKERS, 0.0)
        self.beaten_at = 0.0
        self.holder: str | None = None
        self.claimed_attempts: list[int] = []

    def _claim(self, name: str) -> None:
        was = self._status()
        claimed = self.bench.attempts.claim(self.job.id, name)
        assert (claimed is not None) == (was is JobStatus.PENDING), "only a waiting job can be taken, and it can"
        if claimed is not None:
            self.claims.append((name, claimed[1]))
            self.claimed_attempts.append(claimed[0].attempt)
            self.beaten_at, self.holder = self.bench.clock.elapsed_s, name
            self.slept_s = dict.fromkeys(WORKERS, 0.0)

    @rule(name=st.sampled_from(WORKERS))
    def freeze(self, name: str) -> None:
        self.frozen.add(name)

    @rule(name=st.sampled_from(WORKERS))
    def wake(self, name: str) -> None:
        """It looks at once at all it believed to own."""
        self.frozen.discard(name)
        for owner, claim in self.claims:
            if owner == name:
                self._write(claim)

    @rule(seconds=st.sampled_from([1, 8, 14, 40]))
    def freeze_the_holder_for(self, seconds: int) -> None:
        if self.holder is not None and self.holder not in self.frozen:
            holder = self.holder
            self.freeze(holder)
            self.let_time_pass(seconds)
            self.wake(holder)

    @rule(seconds=st.sampled_from([1, 3, 14, 40]))
    def let_time_pass(self, seconds: int) -> None:
        for _ in range(seconds):
            self.bench.clock.advance(1)
            for name in WORKERS:
                if name in self.frozen:
                    self.slept_s[name] += 1
                else:
                    if self.bench.clock.elapsed_s % HEARTBEAT_S == 0:
                        self._beat(name)
                    self._sweep(name)
                    self._claim(name)

    @rule(seconds=st.sampled_from([-100_000.0, -11.0, 11.0, 100_000.0]))
    def jump(self, seconds: float) -> None:
        self.bench.clock.jump(seconds)

    def _beat(self, name: str) -> None:
        for owner, claim in self.claims:
            if owner != name:
                continue
            try:
                self.bench.attempts.heartbeat(claim)
            except LeaseLostError:
                continue
            assert claim == self.claims[-1][1], "only the newest claim can prolong the lease"
            self.beaten_at = self.bench.clock.elapsed_s

    def _sweep(self, name: str) -> None:
        moved = self.sweepers[name].sweep().moved
        silent_s = self.bench.clock.elapsed_s - self.beaten_at
        if moved:
            assert silent_s > LEASE_S, f"taken from a worker that was heard {silent_s} s ago"
            assert self.holder in self.frozen, "taken from a worker that works"
        elif self._status() is JobStatus.RUNNING:
            # A sweeper that slept counts half a lease of it; then it needs at most a lease, and one more look.
            assert silent_s - self.slept_s[name] <= LEASE_S + 1, "a silent worker keeps its job"

    def _write(self, claim: Claim) -> None:
        may = claim == self.claims[-1][1] and self._status() is JobStatus.RUNNING
        try:
            self.bench.record_epoch(claim, 1)
        except LeaseLostError:
            assert not may, "the owner may write"
            return
        assert may, "a worker that lost its lease wrote"

    def _status(self) -> JobStatus:
        return self.bench.jobs.get(self.job.id).status

    @invariant()
    def attempts_are_counted_once(self) -> None:
        if hasattr(self, "bench"):
            assert self.claimed_attempts == list(range(1, len(self.claimed_attempts) + 1))


FIXED = settings(
    max_examples=50,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)


MUTANT = settings(FIXED, max_examples=400, phases=[Phase.generate], report_multiple_bugs=False)
"""Stops at the first failure; nobody reads a shrunken one."""


def test_two_workers_a_clock_and_one_job() -> None:
    run_state_machine_as_test(LeaseMachine, settings=FIXED)


def forget_the_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any worker that ever had a running job may write to it."""

    def claimed(self: MemoryJobs, claim: Claim) -> JobRow:
        row = self._row(claim.job_id)
        if row.job.status is not JobStatus.RUNNING:
            raise LeaseLostError("not running")
        return row

    monkeypatch.setattr(MemoryJobs, "_claimed", claimed)


def trust_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way it was: the worker's wall clock compared with the sweeper's."""

    def measure(self: Sweeper) -> float:
        now = self._clock.now()
        with self._store.read() as tx:
            for lease in tx.jobs.list_leases():
                watch = self._leases.get(lease.job_id)
                if watch is not None and lease.stamp[1] < now:
                    watch.silent_s = 1e9
        return 0.0

    monkeypatch.setattr(Sweeper, "_measure", measure)


def never_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead worker keeps its job for ever."""
    monkeypatch.setattr(Sweeper, "_measure", lambda self: 0.0)


def hand_out_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A running job can be claimed again."""
    original = MemoryJobs.claim

    def claim(self: MemoryJobs, job_id: str, **values: object) -> Job | None:
        row = self._row(job_id)
        if row.job.status is JobStatus.RUNNING:
            pending = row.job.evolve(status=JobStatus.PENDING, version=row.job.version + 1)
            self.save(pending, expected_version=row.job.version)
        return original(self, job_id, **values)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryJobs, "claim", claim)


@pytest.mark.parametrize("mutate", [forget_the_fence, trust_the_wall_clock, never_expire, hand_out_twice])
def test_the_model_finds_a_mutant(mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(LeaseMachine, settings=MUTANT)
