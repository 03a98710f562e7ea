"""How far the event log is settled on PostgreSQL: up to which position nothing can appear any more.

Positions come from a sequence before the commit, so a later one can be seen first. Writers do not wait for each other: each takes a
*shared* advisory lock, whose key is a lower bound of the positions that it will draw, then draws them. A reader looks, in this order, at

1. the sequence: every position up to its value has been drawn, each by a writer that held its lock by then;
2. the locks: PostgreSQL lets go of a transaction's locks after its commit is visible, so a writer without one has ended;
3. a new snapshot of the rows.

What is neither above the value of 1 nor at or above a bound of 2 was drawn by a writer that ended before 3: it is seen there,
or never. ADR 0014 has the whole proof. On SQLite everything is settled: there is one writer at a time.
"""

from __future__ import annotations

import threading
from typing import Any, Final

from sqlalchemy import Connection, text

from heimdall.storage.dialects import EVENT_CHANNEL, Dialect

MAX_POSITION: Final = 2**63 - 1

# A 64-bit key: 16 bits that are ours ("HE"), 48 bits of position. pg_locks shows its halves as classid and objid, with objsubid 1.
_CLASS: Final = 0x4845
_BITS: Final = 48
_HIGHEST: Final = 2**_BITS - 1

# What writers of versions before 0014 hold, exclusively, from before they draw until their commit is visible. It says no bound.
_OLD_LOCK: Final = 0x48454901

_ENTER: Final = text(
    f"SELECT pg_advisory_xact_lock_shared((CAST({_CLASS} AS bigint) << {_BITS}) | least(last_value + CAST(is_called AS int), {_HIGHEST}))"
    " FROM events_position_seq"
)
_RING: Final = f"NOTIFY {EVENT_CHANNEL}"
# The locks are looked at for each value of the sequence (OFFSET 0 keeps the planner from merging the two), so certainly after it.
_HORIZON: Final = f"""
SELECT least(
    sequence.drawn,
    (SELECT min(writer.bound) - 1 FROM (
        SELECT CASE objsubid WHEN 2 THEN 1 ELSE ((CAST(classid AS bigint) & {2 ** (_BITS - 32) - 1}) << 32) | CAST(objid AS bigint) END
            AS bound
        FROM pg_locks
        WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND (objsubid = 1 AND CAST(classid AS bigint) >> {_BITS - 32} = {_CLASS}
                OR objsubid = 2 AND CAST(classid AS bigint) = {_OLD_LOCK} AND objid = 0 AND granted)
    ) AS writer WHERE writer.bound <= sequence.drawn)
)
FROM (SELECT last_value - CAST(NOT is_called AS int) AS drawn FROM events_position_seq OFFSET 0) AS sequence
"""


def enter_log(connection: Connection, dialect: Dialect) -> None:
    """Say, until the transaction ends, from which position on it may add events. Must come before they are inserted."""
    if not dialect.is_sqlite:
        connection.execute(_ENTER)


def ring(connection: Connection) -> None:
    """Ring PostgreSQL's doorbell, in a transaction of its own.

    Rung within the writer's transaction it would cost what the locks save: PostgreSQL lets one transaction at a time
    commit notifications, from before its flush to the disk until after it. Alone it has nothing to flush.
    """
    driver: Any = connection.connection.driver_connection
    driver.execute(_RING)


def read_horizon(connection: Connection) -> int:
    """Return the position up to which the log is settled for every snapshot taken after this. Not in a transaction that has one."""
    driver: Any = connection.connection.driver_connection
    horizon: int = driver.execute(_HORIZON).fetchone()[0]
    return horizon


class SettledMark:
    """The newest event that this process has given to a reader; thread-safe.

    A horizon can lie below an earlier one: a writer may be late to take its lock, with an old bound. What was settled once
    stays it, so that readers of one process never go back. Only positions of rows that were seen are noted: those are on disk,
    while a number that was merely drawn could be drawn again after a crash of the database.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._position = 0

    @property
    def position(self) -> int:
        """Up to here the log is settled for every snapshot taken from now on."""
        return self._position

    def note(self, position: int) -> None:
        """Remember a settled event that was seen."""
        with self._guard:
            self._position = max(self._position, position)
