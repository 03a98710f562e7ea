"""Celery's consumer with only the steps that a quiet worker needs: connection, task messages, loop."""

from __future__ import annotations

from celery.worker.consumer.consumer import Consumer


class QuietConsumer(Consumer):  # type: ignore[misc]
    """No mingle, gossip, heartbeat, remote control, nor delayed delivery (27 queues nobody here uses)."""

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc]
        """The three steps, in Celery's own order."""

        default_steps = (
            "celery.worker.consumer.connection:Connection",
            "celery.worker.consumer.events:Events",
            "celery.worker.consumer.tasks:Tasks",
            "celery.worker.consumer.consumer:Evloop",
        )
