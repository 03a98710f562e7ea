"""Cursors and orders of the job list, as properties."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heimdall.domain.errors import InvalidInputError
from heimdall.domain.jobs import Job, JobStatus, TrainingJobConfig
from heimdall.domain.ports import JobQuery, JobSort
from heimdall.storage.job_paging import STATUS_RANKS, check_limit, decode_cursor, encode_cursor, is_after, ordered, sort_value

NOW = datetime(2026, 1, 2, tzinfo=UTC)
CONFIG = TrainingJobConfig(job_name="n", dataset_id="d")
SORTS: tuple[JobSort, ...] = get_args(JobSort)

jobs = st.builds(
    lambda number, name, status, seconds, progress, loss: Job(
        id=f"id-{number}",
        name=name,
        status=status,
        created_at=NOW + timedelta(seconds=seconds, microseconds=number),
        config=CONFIG,
        total_epochs=1,
        dataset_id="d",
        progress_percent=progress,
        best_val_loss=loss,
    ),
    st.integers(0, 10**6),
    st.text(min_size=1, max_size=5),
    st.sampled_from(JobStatus),
    st.integers(-3, 3),
    st.sampled_from([0.0, 1 / 3, 100.0]),
    st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32),
)


def clean(job: Job) -> bool:
    """Return whether the name can be written as UTF-8 at all, as every stored name is."""
    return job.name.encode("utf-8", "replace").decode() == job.name


@given(job=jobs.filter(clean), sort=st.sampled_from(SORTS))
def test_a_cursor_brings_its_place_back_exactly(job: Job, sort: JobSort) -> None:
    cursor = encode_cursor(sort, job)
    place = decode_cursor(JobQuery(sort=sort, cursor=cursor))
    assert place is not None
    assert not is_after(sort, job, place)
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(items=st.lists(jobs.filter(clean), unique_by=lambda job: job.id, max_size=8), sort=st.sampled_from(SORTS))
def test_what_stands_after_a_place_is_the_rest_of_the_list(items: list[Job], sort: JobSort) -> None:
    line = ordered(sort, items)
    for index, job in enumerate(line):
        place = decode_cursor(JobQuery(sort=sort, cursor=encode_cursor(sort, job)))
        assert place is not None
        assert [other for other in line if is_after(sort, other, place)] == line[index + 1 :]


@given(st.text(max_size=60))
def test_any_text_is_a_cursor_or_a_clear_error(text: str) -> None:
    for candidate in (text, base64.urlsafe_b64encode(text.encode("utf-8", "replace")).decode()):
        with pytest.raises(InvalidInputError) as caught:
            decode_cursor(JobQuery(cursor=candidate))
        assert caught.value.field == "cursor"


def test_no_cursor_is_the_beginning() -> None:
    assert decode_cursor(JobQuery()) is None


def test_every_status_has_a_rank() -> None:
    assert sorted(STATUS_RANKS.values()) == list(range(len(JobStatus)))


def test_a_job_without_a_loss_comes_last() -> None:
    job = Job(id="a", name="n", created_at=NOW, config=CONFIG, total_epochs=1, dataset_id="d")
    worst = job.evolve(id="b", best_val_loss=1e300)
    assert [item.id for item in ordered("best_val_loss", [job, worst])] == ["b", "a"]
    assert sort_value(job, "best_val_loss") > 1e300  # type: ignore[operator]


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_a_size(limit: int) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_limit(limit)
    assert caught.value.field == "limit"
