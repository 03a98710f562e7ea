"""One Celery application for senders and workers: early acknowledgement, JSON only, nothing that talks while idle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from celery import Celery
from kombu.entity import Exchange, Queue

import heimdall.queue.embedded  # noqa: F401  (registers the transport's URL scheme)
from heimdall.queue.names import BUILD_DATASET, DEFAULT_PREFIX, EMBEDDED_FOLDER, EMBEDDED_URL, QUEUE_KINDS, RUN_JOB, QueueKind, QueueNames

CONNECT_TIMEOUT_S: Final = 0.9
"""s for one try to reach the broker; a send tries twice, so a caller waits less than 2 s."""


def make_celery(broker_url: str | None, data_dir: Path, *, prefix: str = DEFAULT_PREFIX, is_worker: bool = False) -> Celery:
    """Return a configured application; cheap, connects to nothing.

    Parameters
    ----------
    broker_url
        ``amqp://…`` or ``redis://…``; None takes the embedded broker, a folder in ``data_dir``.
    prefix
        First part of every queue's name.
    is_worker
        A worker waits for its broker as long as it takes; a sender gives up within 2 s.
    """
    names = QueueNames(prefix)
    celery = Celery("heimdall", set_as_current=False, fixups=[], changes={})
    celery.conf.update(
        broker_url=broker_url or EMBEDDED_URL,
        broker_transport_options=_make_transport_options(broker_url, data_dir, is_worker=is_worker),
        broker_connection_timeout=CONNECT_TIMEOUT_S if not is_worker else 4.0,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_heartbeat=20 if is_worker else 0,
        broker_pool_limit=4,
        task_queues=[_make_queue(names, kind, broker_url) for kind in QUEUE_KINDS],
        task_default_queue=names.of("cpu"),
        task_default_exchange=prefix,
        task_default_exchange_type="direct",
        task_default_routing_key=names.of("cpu"),
        task_create_missing_queues=False,
        task_routes={BUILD_DATASET: {"queue": names.of("dataset")}, RUN_JOB: {"queue": names.of("cpu")}},
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_acks_late=False,
        task_publish_retry=True,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},
        worker_prefetch_multiplier=1,
        worker_detect_quorum_queues=True,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_consumer="heimdall.queue.consumer:QuietConsumer",
        enable_utc=True,
    )
    return celery


def _make_transport_options(broker_url: str | None, data_dir: Path, *, is_worker: bool) -> dict[str, Any]:
    if broker_url is None:
        return {"folder": str(data_dir / EMBEDDED_FOLDER)}
    options: dict[str, Any] = {}
    if broker_url.startswith("redis"):
        options = {"socket_connect_timeout": CONNECT_TIMEOUT_S, "socket_keepalive": True, "health_check_interval": 25}
        if not is_worker:
            options["socket_timeout"] = CONNECT_TIMEOUT_S
    if not is_worker:
        options |= {
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0,
            "interval_max": 0,
            "connect_retries_timeout": CONNECT_TIMEOUT_S,
        }
    return options


def _make_queue(names: QueueNames, kind: QueueKind, broker_url: str | None) -> Queue:
    is_amqp = broker_url is not None and broker_url.startswith(("amqp", "pyamqp"))
    return Queue(  # type: ignore[no-untyped-call]
        names.of(kind),
        Exchange(names.prefix, type="direct", durable=True),  # type: ignore[no-untyped-call]
        routing_key=names.of(kind),
        durable=True,
        # Replicated by RabbitMQ and kept over its restart; other brokers know no such argument.
        queue_arguments={"x-queue-type": "quorum"} if is_amqp else None,
    )
