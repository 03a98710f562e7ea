"""The disk's guard warns in time, says it once, and refuses new work beyond the quota only."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from heimdall.domain.errors import UnavailableError
from heimdall.services.disk import MEASURE_EVERY_S, DiskGuard, DiskPolicy, QuotaExceededError, make_policy
from heimdall.storage.health import used_bytes

GB = 10**9


class Disk:
    """A disk whose figures the test sets, and a guard that watches it."""

    def __init__(self, policy: DiskPolicy) -> None:
        self.free, self.used, self.time_s, self.num_walks = 100 * GB, 0, 0.0, 0
        self.fault: UnavailableError | None = None
        self.guard = DiskGuard(measure_free=self._measure_free, measure_used=self._walk, policy=policy, monotonic=lambda: self.time_s)

    def _measure_free(self) -> int:
        if self.fault is not None:
            raise self.fault
        return self.free

    def _walk(self) -> int:
        self.num_walks += 1
        return self.used

    def warning_at(self, *, used: int = 0, free: int = 100 * GB) -> str | None:
        self.used, self.free = used, free
        self.time_s += MEASURE_EVERY_S
        return self.guard.look().warning


def test_it_is_warned_before_the_quota_is_used_up_and_refused_only_beyond_it() -> None:
    disk = Disk(make_policy(quota_mb=10_000, warn_percent=90, warn_free_mb=0))
    assert disk.warning_at(used=9 * GB - 1) is None
    assert "holds 9.0 GB of its quota of 10.0 GB" in str(disk.warning_at(used=9 * GB))
    disk.guard.admit()
    assert disk.warning_at(used=10 * GB) is not None
    with pytest.raises(QuotaExceededError, match="what runs goes on") as caught:
        disk.guard.admit()
    assert caught.value.code == "quota_exceeded"
    assert disk.warning_at(used=8 * GB) is None
    disk.guard.admit()


def test_little_free_space_is_warned_of_and_refuses_nothing() -> None:
    disk = Disk(make_policy(quota_mb=0, warn_percent=90, warn_free_mb=1000))
    assert disk.warning_at(free=GB) is None
    assert "only 999 MB left" in str(disk.warning_at(free=GB - 10**6))
    disk.guard.admit()


def test_without_a_quota_no_file_is_looked_at() -> None:
    disk = Disk(DiskPolicy())
    assert disk.warning_at(used=10**15, free=0) is None
    assert (disk.num_walks, disk.guard.look().used_bytes) == (0, None)


def test_a_warning_is_logged_when_it_comes_and_when_it_is_over_and_not_between(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk(make_policy(quota_mb=10_000, warn_percent=90, warn_free_mb=0))
    with caplog.at_level(logging.INFO):
        for used_gb in (1, 9, 9.5, 11, 9, 1, 1, 9):
            disk.warning_at(used=int(used_gb * GB))
    assert [record.message for record in caplog.records] == ["disk_nearly_full", "disk_has_room_again", "disk_nearly_full"]


def test_many_looks_are_one_walk_through_the_files() -> None:
    disk = Disk(make_policy(quota_mb=10_000, warn_percent=90, warn_free_mb=0))
    for _ in range(100):
        disk.guard.look()
        disk.guard.admit()
    assert disk.num_walks == 1
    disk.time_s += MEASURE_EVERY_S
    disk.guard.look()
    assert disk.num_walks == 2


def test_a_folder_that_cannot_be_read_is_said_by_a_look_and_refuses_nobody() -> None:
    disk = Disk(make_policy(quota_mb=1, warn_percent=90, warn_free_mb=0))
    disk.fault = UnavailableError("away")
    disk.guard.admit()
    with pytest.raises(UnavailableError):
        disk.guard.look()


def test_every_file_below_the_folder_counts_once_and_links_are_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "a" / "b").mkdir(parents=True)
    empty = used_bytes(folder)
    (folder / "a" / "b" / "big").write_bytes(b"x" * 100_000)
    (folder / "small").write_bytes(b"x" * 10_000)
    (tmp_path / "outside").write_bytes(b"x" * 1_000_000)
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "loop").symlink_to(folder)
    assert empty == 0
    assert 110_000 <= used_bytes(folder) < 200_000
    assert used_bytes(tmp_path / "nowhere") == 0
