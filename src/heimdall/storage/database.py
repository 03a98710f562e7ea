"""The database port on SQLAlchemy: one transaction at a time, committed whole or not at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError

from heimdall.domain.errors import LockedError
from heimdall.storage.audit import SqlAudit
from heimdall.storage.datasets import SqlDatasets
from heimdall.storage.dialects import Dialect
from heimdall.storage.driver import end_stream
from heimdall.storage.engines import open_engine, parse_database_url
from heimdall.storage.events import SqlEvents
from heimdall.storage.faults import BUSY_MESSAGE, translated_faults
from heimdall.storage.jobs import SqlJobs
from heimdall.storage.logs import SqlLogs
from heimdall.storage.metrics import SqlMetrics
from heimdall.storage.models import SqlModels
from heimdall.storage.settled import MAX_POSITION, SettledMark, read_horizon, ring
from heimdall.storage.upkeep import SqlUpkeep


class SqlTransaction:
    """All repositories on one transaction. Not for sharing between threads."""

    def __init__(self, connection: Connection, dialect: Dialect, mark: SettledMark, horizon: int | None = None) -> None:
        self._connection = connection
        self._dialect = dialect
        self._mark = mark
        self._horizon = horizon

    @property
    def connection(self) -> Connection:
        """The connection, for what no repository covers."""
        return self._connection

    @cached_property
    def events(self) -> SqlEvents:
        """The event log."""
        return SqlEvents(self._connection, self._dialect, horizon=self._horizon, mark=self._mark)

    @cached_property
    def jobs(self) -> SqlJobs:
        """Jobs."""
        return SqlJobs(self._connection, self._dialect, self.events)

    @cached_property
    def metrics(self) -> SqlMetrics:
        """Metric rows."""
        return SqlMetrics(self._connection, self._dialect)

    @cached_property
    def logs(self) -> SqlLogs:
        """Text logs."""
        return SqlLogs(self._connection, self._dialect)

    @cached_property
    def audit(self) -> SqlAudit:
        """The audit log."""
        return SqlAudit(self._connection)

    @cached_property
    def datasets(self) -> SqlDatasets:
        """Data sets."""
        return SqlDatasets(self._connection)

    @cached_property
    def models(self) -> SqlModels:
        """Models."""
        return SqlModels(self._connection, self._dialect)

    @cached_property
    def upkeep(self) -> SqlUpkeep:
        """Tombstones and holds."""
        return SqlUpkeep(self._connection, self._dialect)


class _Pool:
    """The connections of one process; a forked child makes its own."""

    def __init__(self, engine: Engine, dialect: Dialect) -> None:
        self.pid = os.getpid()
        self.engine = engine
        self.driver_error: type[Exception] = engine.dialect.loaded_dbapi.Error
        self.reader = engine if dialect.is_sqlite else engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        # PostgreSQL's writers begin by hand, in one round trip with their limit.
        self.writer = engine if dialect.is_sqlite else engine.execution_options(isolation_level="AUTOCOMMIT")
        # SQLite has one writer at a time. Threads of this process queue here, woken at once, instead of polling the file.
        self.turn = threading.Lock()
        self.mine = threading.local()
        self._writer: Connection | None = None
        self._is_closed = False

    @contextmanager
    def kept_writer(self) -> Iterator[Connection]:
        """Lend the one connection that SQLite's writer of this process uses again and again; only for who has the turn.

        To take it from the pool and give it back costs as much as an epoch's statements. A failure, whatever it was, gives it back.
        """
        connection, self._writer = self._writer or self.engine.connect(), None
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        if self._is_closed:
            connection.close()
        else:
            self._writer = connection

    def close(self) -> None:
        """Close every connection: the idle ones now, one that a thread still uses when it comes back."""
        self._is_closed = True
        event.listen(self.engine.pool, "checkin", lambda _connection, entry: entry.close())
        if self.turn.acquire(timeout=0.1):  # else the one who writes closes its connection
            writer, self._writer = self._writer, None
            self.turn.release()
            if writer is not None:
                writer.close()
        self.engine.dispose()


class SqlStore:
    """``Store`` on SQLite (a file) or PostgreSQL.

    Parameters
    ----------
    url
        ``sqlite:///path`` or ``postgresql://…``. Nothing is opened before first use.
    busy_timeout_s
        s to wait for another writer's lock before UnavailableError.
    idle_writer_s
        s that a write transaction may pause on PostgreSQL before the server ends it: a process that is frozen between two statements
        must not keep its rows from everyone else.
    """

    def __init__(self, url: str, busy_timeout_s: float = 10.0, *, idle_writer_s: float = 10.0) -> None:
        self.url = parse_database_url(url)
        self.busy_timeout_s = busy_timeout_s
        self._bounded_begin = f"BEGIN; SET LOCAL idle_in_transaction_session_timeout = '{int(idle_writer_s * 1000)}ms'"
        self._dialect = Dialect("sqlite" if self.url.get_backend_name() == "sqlite" else "postgresql")
        self._mark = SettledMark()
        self._inherited: _Pool | None = None
        self._pool = _Pool(open_engine(self.url, busy_timeout_s), self._dialect)

    def _own_pool(self) -> _Pool:
        pool = self._pool
        if pool.pid != os.getpid():
            # The parent's connections are the parent's: kept unused, because closing one here may touch its locks.
            self._inherited = pool
            self._mark = SettledMark()  # another thread may have held the old one's guard at the fork
            pool = self._pool = _Pool(open_engine(self.url, self.busy_timeout_s), self._dialect)
        return pool

    @contextmanager
    def write(self) -> Iterator[SqlTransaction]:
        """Open a write transaction: committed on a clean exit, rolled back on any exception."""
        pool = self._own_pool()
        borrowed = pool.kept_writer if self._dialect.is_sqlite else pool.writer.connect
        with translated_faults(pool.driver_error), self._writer_turn(pool), borrowed() as connection:
            self._begin(connection, "BEGIN IMMEDIATE", self._bounded_begin)
            transaction = SqlTransaction(connection, self._dialect, self._mark)
            yield transaction
            transaction.events.flush()
            connection.commit()
            if transaction.events.has_inserted and not self._dialect.is_sqlite:
                with suppress(pool.driver_error):  # the commit stands; whoever listens looks again by himself
                    ring(connection)

    @contextmanager
    def read(self, *, settled: bool = False) -> Iterator[SqlTransaction]:
        """Open a consistent read: all of it sees the same moment. Nothing written in it survives; see the port."""
        pool = self._own_pool()
        # By hand, because the horizon must be older than the snapshot.
        is_by_hand = settled and not self._dialect.is_sqlite
        with translated_faults(pool.driver_error), (pool.writer if is_by_hand else pool.reader).connect() as connection:
            horizon = MAX_POSITION if settled else None
            if is_by_hand:
                horizon = max(self._mark.position, read_horizon(connection))
            self._begin(connection, "BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if is_by_hand else None)
            try:
                yield SqlTransaction(connection, self._dialect, self._mark, horizon)
            finally:
                end_stream(connection)
            if not self._dialect.is_sqlite:
                # After a rollback the driver would forget the statements that it prepared. What was read is read, even where this fails.
                with suppress(DBAPIError):
                    connection.commit()

    def _begin(self, connection: Connection, sqlite_words: str, postgresql_words: str | None = None) -> None:
        connection.begin()
        driver: Any = connection.connection.driver_connection
        # The driver is in autocommit mode (see engines.py): the transaction begins here, and with the right lock.
        if self._dialect.is_sqlite:
            driver.execute(sqlite_words)
        elif postgresql_words is not None:
            # Possibly two statements in one round trip, which a prepared statement could not be.
            driver.execute(postgresql_words, prepare=False)

    @contextmanager
    def _writer_turn(self, pool: _Pool) -> Iterator[None]:
        if getattr(pool.mine, "is_writing", False):
            raise RuntimeError("This thread already has a write transaction open; a second one would wait for the first forever.")
        if self._dialect.is_sqlite and not pool.turn.acquire(timeout=self.busy_timeout_s):
            raise LockedError(BUSY_MESSAGE)
        pool.mine.is_writing = True
        try:
            yield
        finally:
            pool.mine.is_writing = False
            if self._dialect.is_sqlite:
                pool.turn.release()

    def ping(self) -> None:
        """Raise UnavailableError where the database does not answer or has no schema yet."""
        pool = self._own_pool()
        with translated_faults(pool.driver_error), pool.engine.connect() as connection:
            connection.execute(text("SELECT version_num FROM alembic_version"))

    def check_write(self, patience_s: float) -> None:
        """Write one row anew and commit it, as every act does; see the port."""
        pool = self._own_pool()
        if self._dialect.is_sqlite and not pool.turn.acquire(timeout=patience_s):
            raise LockedError(BUSY_MESSAGE)
        try:
            with translated_faults(pool.driver_error), pool.engine.connect() as connection, self._impatient(connection, patience_s):
                self._begin(connection, "BEGIN IMMEDIATE")
                if not self._dialect.is_sqlite:
                    connection.execute(text(f"SET LOCAL lock_timeout = '{int(patience_s * 1000)}ms'"))
                connection.execute(text("UPDATE alembic_version SET version_num = version_num"))
                connection.commit()
        finally:
            if self._dialect.is_sqlite:
                pool.turn.release()

    @contextmanager
    def _impatient(self, connection: Connection, patience_s: float) -> Iterator[None]:
        """Let SQLite wait less long on this connection, which then goes back to the pool as it was."""
        if not self._dialect.is_sqlite:
            yield
            return
        driver: Any = connection.connection.driver_connection
        driver.execute(f"PRAGMA busy_timeout={int(patience_s * 1000)}")
        try:
            yield
        finally:
            driver.execute(f"PRAGMA busy_timeout={int(self.busy_timeout_s * 1000)}")

    def migrate(self) -> None:
        """Bring the schema to the newest version; safe to call from several processes at once, cheap when current."""
        from heimdall.storage.schema import migrate

        pool = self._own_pool()
        with translated_faults(pool.driver_error):
            migrate(pool.engine)

    def close(self) -> None:
        """Close every connection: the idle ones now, one that a thread still uses when it comes back."""
        self._own_pool().close()
