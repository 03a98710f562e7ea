"""The scaled size for real: PostgreSQL, RabbitMQ and Redis, two workers, one of them killed."""

import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from heimdall.domain.datasets import DatasetStatus, SyntheticDatasetConfig
from heimdall.domain.jobs import JobStatus
from heimdall.queue.celery_app import make_celery
from heimdall.queue.names import QUEUE_KINDS, QueueNames
from tests.conftest import skip_or_fail
from tests.instance import wait_until
from tests.integration.worker_bench import WorkerBench

POSTGRES_URL = os.environ.get("HEIMDALL_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/test")
AMQP_URL = os.environ.get("HEIMDALL_TEST_BROKER_URL", "amqp://guest:guest@127.0.0.1:5672//")
REDIS_URL = os.environ.get("HEIMDALL_TEST_REDIS_URL", "redis://127.0.0.1:6379/9")

pytestmark = pytest.mark.scaled


@pytest.fixture
def database_url() -> Iterator[str]:
    try:
        server = psycopg.connect(POSTGRES_URL, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        skip_or_fail(f"PostgreSQL does not answer: {error}")
    name = f"heimdall_test_{uuid.uuid4().hex[:12]}"
    with server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        head, _, query = POSTGRES_URL.partition("?")
        yield head.rsplit("/", 1)[0] + "/" + name + (f"?{query}" if query else "")
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(params=["rabbitmq", "redis"])
def bench(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Iterator[WorkerBench]:
    url = AMQP_URL if request.param == "rabbitmq" else REDIS_URL
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname, address.port), timeout=2).close()
    except OSError as error:
        skip_or_fail(f"no {request.param} at {address.hostname}:{address.port}: {error}")
    prefix = f"test-{uuid.uuid4().hex[:10]}"
    made = WorkerBench(tmp_path / "data", database_url=database_url, broker_url=url, queue_prefix=prefix)
    yield made
    made.close()
    with make_celery(url, tmp_path, prefix=prefix).connection_for_write() as connection:
        for kind in QUEUE_KINDS:
            connection.channel().queue_delete(QueueNames(prefix).of(kind))
        if request.param == "rabbitmq":
            connection.channel().exchange_delete(prefix)


def test_a_job_outlives_its_killed_worker(bench: WorkerBench) -> None:
    first = bench.start_worker()
    dataset = bench.container.datasets.create_synthetic(SyntheticDatasetConfig(name="built by a worker", num_examples=400))
    wait_until(lambda: bench.container.datasets.get(dataset.id).status is not DatasetStatus.BUILDING, 60, bench.log)
    job = bench.create(dataset_id=dataset.id, epochs=40, batch_size=8)
    bench.wait_epoch(job.id)
    bench.start_worker()
    first.kill()
    done = bench.wait(job.id, JobStatus.COMPLETED)
    assert (done.attempt, done.current_epoch) == (2, 40)
    bench.assert_whole(done)
    assert [kind for kind, _ in bench.events(job.id)].count("requeued") == 1
