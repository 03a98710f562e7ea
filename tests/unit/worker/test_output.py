from collections.abc import Sequence

import pytest

from heimdall.domain.errors import UnavailableError
from heimdall.worker.output import OutputLog


class Store:
    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.is_away = False
        self.now = 100.0

    def append(self, lines: Sequence[str]) -> None:
        if self.is_away:
            raise UnavailableError("away")
        self.batches.append(list(lines))

    @property
    def lines(self) -> list[str]:
        return [line for batch in self.batches for line in batch]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def log(store: Store) -> OutputLog:
    return OutputLog(store.append, monotonic=lambda: store.now)


def test_bytes_become_lines_wherever_they_were_cut(log: OutputLog, store: Store) -> None:
    for chunk in (b"first li", b"ne\nsec", b"ond\r\n\n  \nbar 10%\rbar 20%\r", b"the end"):
        log.feed(chunk)
    log.close()
    assert store.lines == ["first line", "second", "bar 10%", "bar 20%", "the end"]


def test_at_most_four_writes_a_second(log: OutputLog, store: Store) -> None:
    for hundredth in range(200):
        store.now = 100 + hundredth / 100
        log.feed(b"line\n")
        log.flush_if_due()
    assert len(store.batches) <= 9


def test_a_store_that_is_away_gets_the_lines_later(log: OutputLog, store: Store) -> None:
    store.is_away = True
    log.feed(b"one\ntwo\n")
    log.flush_if_due()
    store.is_away = False
    store.now += 1
    log.flush_if_due()
    assert store.lines == ["one", "two"]


def test_a_flood_is_bounded_and_says_what_it_left_out(log: OutputLog, store: Store) -> None:
    log.feed(b"spam\n" * 100_000)
    log.close()
    assert len(store.lines) == 20_001
    assert "80000 lines were left out" in store.lines[-1]


def test_a_line_without_end_is_cut(log: OutputLog, store: Store) -> None:
    for _ in range(100):
        log.feed(b"x" * 1000)
    log.close()
    assert all(len(line) <= 4000 for line in store.lines)
    assert sum(map(len, store.lines)) <= 100_000


def test_bytes_that_are_no_text_do_not_stop_it(log: OutputLog, store: Store) -> None:
    log.feed(b"\xff\xfe caf\xc3\xa9\n")
    log.close()
    assert "café" in store.lines[0]
