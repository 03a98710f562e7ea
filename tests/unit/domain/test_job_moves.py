"""The job entity as a state machine: whatever happens in whatever order, it stays within the contract's table."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from heimdall.domain.errors import IllegalTransitionError
from heimdall.domain.jobs import FINAL_STATUSES, TRANSITIONS, Job, JobEvent, JobStatus, TrainingJobConfig, list_sources, next_status

CONTRACT = {
    "pending": {"claimed": "running", "pause_done": "paused", "cancel_done": "cancelled", "error": "failed"},
    "running": {"pause_done": "paused", "cancel_done": "cancelled", "finished": "completed", "error": "failed", "worker_lost": "pending"},
    "paused": {"resumed": "pending", "cancel_done": "cancelled"},
    "completed": {},
    "failed": {},
    "cancelled": {},
}
"""Typed from the contract's table, not from the code."""


class JobMoves(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        config = TrainingJobConfig(job_name="j", dataset_id="d")
        created_at = datetime(2026, 1, 1, tzinfo=UTC)
        self.job = Job(id="j", name="j", created_at=created_at, config=config, total_epochs=50, dataset_id="d")
        self.model = "pending"
        self.has_run = False

    @rule(event=st.sampled_from(JobEvent))
    def happen(self, event: JobEvent) -> None:
        expected = CONTRACT[self.model].get(event.value)
        before = self.job
        if expected is None:
            with pytest.raises(IllegalTransitionError) as refused:
                next_status(self.job.status, event)
            assert self.model in refused.value.detail
            assert self.job == before
            return
        self.job = self.job.evolve(status=next_status(self.job.status, event), version=self.job.version + 1)
        self.model = expected
        self.has_run = self.has_run or expected == "running"

    @invariant()
    def the_entity_is_where_the_model_is(self) -> None:
        assert self.job.status.value == self.model

    @invariant()
    def completed_only_after_it_ran(self) -> None:
        assert self.model != "completed" or self.has_run

    @invariant()
    def it_survives_its_own_json(self) -> None:
        assert Job.model_validate_json(self.job.model_dump_json()) == self.job

    @invariant()
    def nothing_leaves_a_final_state(self) -> None:
        if self.job.status in FINAL_STATUSES:
            assert not any(source is self.job.status for source, _ in TRANSITIONS)


JobMoves.TestCase.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)
TestJobMoves = JobMoves.TestCase


@pytest.mark.parametrize("event", JobEvent)
def test_the_sources_of_an_event_are_those_of_the_contract(event: JobEvent) -> None:
    assert {status.value for status in list_sources(event)} == {state for state, moves in CONTRACT.items() if event.value in moves}


@pytest.mark.parametrize("status", [status for status in JobStatus if status not in FINAL_STATUSES])
def test_every_active_state_can_reach_an_end(status: JobStatus) -> None:
    reached, new = {status}, {status}
    while new:
        new = {target for (source, _), target in TRANSITIONS.items() if source in new} - reached
        reached |= new
    assert FINAL_STATUSES & reached
