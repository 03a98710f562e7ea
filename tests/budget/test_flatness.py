"""What must not grow with what is already there: the first page with the jobs, an epoch with the epochs before it.

Counted in SQLite's own steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from bench.reads import fill_jobs, fill_run
from heimdall.bootstrap import Container
from heimdall.domain.jobs import Claim, JobStatus
from heimdall.domain.metrics import VALUE_FIELDS
from heimdall.domain.ports import JobQuery
from tests.budget.counting import DATABASE, Work
from tests.serving import make_container, make_report

ALLOWED = 1.1


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    with DATABASE:
        found = make_container(tmp_path)
        yield found
        found.close()


def count_steps(work: Work) -> int:
    work()
    before = len(DATABASE.steps)
    work()
    return len(DATABASE.steps) - before


def test_the_first_page_costs_the_same_at_any_number_of_jobs(container: Container) -> None:
    def read() -> None:
        container.jobs.list_fingerprint()
        assert container.jobs.find(JobQuery()).total
        container.jobs.find(JobQuery(statuses=frozenset({JobStatus.COMPLETED})))
        container.jobs.count_by_status()

    fill_jobs(container, 300)
    few = count_steps(read)
    fill_jobs(container, 3_000)
    assert count_steps(read) <= ALLOWED * few


@pytest.mark.parametrize("what", ["new", "again"])
def test_an_epoch_costs_the_same_at_any_length_of_run(container: Container, what: str) -> None:
    def record(num_epochs: int) -> Work:
        job_id = fill_run(container, num_epochs)
        claim = Claim(job_id=job_id, worker_id="bench", attempt=1)
        # From the first epoch of a summary on, so that both runs meet the same summaries.
        epochs = count(num_epochs + 1 if what == "new" else num_epochs // 2 + 1)

        def work() -> None:
            for epoch in (next(epochs) for _ in range(256)):
                report = make_report(claim, epoch, 10**6, **dict.fromkeys(VALUE_FIELDS, 0.5))
                container.attempts.record_epochs(claim, [report])

        return work

    short = count_steps(record(1_024))
    assert count_steps(record(16_384)) <= ALLOWED * short
