"""What every store promises of tombstones and holds."""

from __future__ import annotations

from datetime import timedelta

from heimdall.domain.ports import Store
from tests.contract.samples import NOW


def test_buried_keys_are_listed_oldest_first_and_once(store: Store) -> None:
    with store.write() as tx:
        tx.upkeep.bury("models/b", "models/a", now=NOW)
        tx.upkeep.bury("datasets/c", now=NOW - timedelta(seconds=1))
        tx.upkeep.bury("models/a", now=NOW + timedelta(days=1))
        tx.upkeep.bury(now=NOW)
    with store.read() as tx:
        assert tx.upkeep.list_buried() == ["datasets/c", "models/a", "models/b"]
        assert tx.upkeep.list_buried(limit=1) == ["datasets/c"]


def test_a_forgotten_key_is_gone_and_an_unknown_one_no_error(store: Store) -> None:
    with store.write() as tx:
        tx.upkeep.bury("models/a", "models/b", now=NOW)
    with store.write() as tx:
        tx.upkeep.forget("models/a", "models/unknown")
        tx.upkeep.forget()
    with store.read() as tx:
        assert tx.upkeep.list_buried() == ["models/b"]


def test_a_hold_lasts_until_its_end_is_prolonged_and_given_back(store: Store) -> None:
    with store.write() as tx:
        tx.upkeep.hold("backup", until=NOW + timedelta(seconds=10))
    with store.read() as tx:
        assert tx.upkeep.is_held(NOW)
        assert not tx.upkeep.is_held(NOW + timedelta(seconds=10))
    with store.write() as tx:
        tx.upkeep.hold("backup", until=NOW + timedelta(seconds=20))
        tx.upkeep.hold("other", until=NOW + timedelta(seconds=5))
        tx.upkeep.release("other")
    with store.read() as tx:
        assert tx.upkeep.is_held(NOW + timedelta(seconds=15))
    with store.write() as tx:
        tx.upkeep.release("backup")
    with store.read() as tx:
        assert not tx.upkeep.is_held(NOW)
