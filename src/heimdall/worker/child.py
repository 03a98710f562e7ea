"""One attempt of one job, in a process of its own: ``python -m heimdall.worker.child``.

A crash, a leak or an out-of-memory kill ends with this process. It writes its results itself, under
the claim that the worker made; the worker holds the lease and cleans up after it.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from heimdall.domain.errors import HeimdallError, LeaseLostError, StorageFullError, UnavailableError
from heimdall.domain.jobs import Claim, Job, PendingAction
from heimdall.domain.training import TrainingOutcome, TrainingRequest
from heimdall.services.jobs import FULL_DISK_BYTES
from heimdall.worker.checkpoints import FoundCheckpoint, find_checkpoint
from heimdall.worker.control import ControlThread
from heimdall.worker.exits import ExitCode
from heimdall.worker.lifeline import bind_to_parent
from heimdall.worker.sink import JobSink
from heimdall.worker.slate import Slate
from heimdall.worker.spare import wait_for_order

if TYPE_CHECKING:
    from heimdall.bootstrap import Container

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChildOrder:
    """What the worker asks of a child."""

    claim: Claim
    beat_fd: int | None
    slate_fd: int | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the attempt that the arguments name and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job-id", required=True)
    parser.add_argument("--worker-id", required=True)
    parser.add_argument("--attempt", type=int, required=True)
    parser.add_argument("--parent-pid", type=int, required=True)
    parser.add_argument("--beat-fd", type=int)
    parser.add_argument("--slate-fd", type=int)
    parser.add_argument("--spare", type=float, metavar="LIFE_S", help="import torch, then take the claim from standard input")
    options = parser.parse_args(arguments)
    bind_to_parent(options.parent_pid)
    claim: Claim | None = Claim(job_id=options.job_id, worker_id=options.worker_id, attempt=options.attempt)
    if options.spare is not None and (claim := wait_for_order(options.spare)) is None:
        return ExitCode.DONE
    assert claim is not None
    return run_order(ChildOrder(claim=claim, beat_fd=options.beat_fd, slate_fd=options.slate_fd))


def run_order(order: ChildOrder) -> int:
    """Build this process's services, run the attempt, return the exit code."""
    from heimdall.bootstrap import build_container
    from heimdall.logs import configure_logging
    from heimdall.settings import Settings

    settings = Settings()
    configure_logging(settings, "job")
    container = build_container(settings)
    try:
        return Attempt(container, order).run()
    finally:
        container.close()


class Attempt:
    """The attempt itself: request, loop, and the one end that fits the outcome."""

    def __init__(self, container: Container, order: ChildOrder) -> None:
        self._container = container
        self._claim = order.claim
        self._control = ControlThread(
            read_control=lambda: container.attempts.read_control(order.claim),
            publish=container.live.publish_tick,
            beat_fd=order.beat_fd,
            poll_s=container.settings.control_poll_s,
        )
        self._sink = JobSink(
            attempts=container.attempts,
            claim=order.claim,
            control=self._control,
            clock=container.clock,
            has_room=self._has_room,
            checkpoint_gap_s=container.settings.checkpoint_gap_s,
            note_epoch=(lambda _: None) if order.slate_fd is None else Slate(order.slate_fd).note,
        )

    def run(self) -> ExitCode:
        """Train, and write how it ended. Returns GAVE_UP or LEASE_LOST where nothing could be written."""
        signal.signal(signal.SIGTERM, lambda *_: self._control.drain())
        self._control.start()
        try:
            self._train_to_an_end()
        except LeaseLostError:
            return ExitCode.LEASE_LOST
        except UnavailableError as error:
            logger.error("gave_up", extra={"reason": error.detail})
            return ExitCode.GAVE_UP
        except HeimdallError as error:
            return self._fail(error.detail)
        except MemoryError:
            return self._fail("Training ran out of memory. Choose a smaller batch size or network.")
        except Exception as error:  # noqa: BLE001  (the worker's outermost frame: every failure becomes the job's sentence)
            return self._fail(f"Training failed: {type(error).__name__}: {_first_line(error)}")
        finally:
            self._control.stop()
        return ExitCode.DONE

    def _train_to_an_end(self) -> None:
        """Train; what a full disk interrupted (but a write, which waits by itself) is done again from the last checkpoint."""
        while True:
            try:
                with self._open_request() as request:
                    self._finish(self._train(request))
            except StorageFullError as error:
                if self._sink.wait_for_room(error):
                    continue
                self._finish(TrainingOutcome(stopped_for=self._control.asked))
            return

    def _has_room(self) -> bool:
        return self._container.artifacts.free_bytes() >= FULL_DISK_BYTES

    @contextmanager
    def _open_request(self) -> Iterator[TrainingRequest]:
        container = self._container
        job = self._sink.persist(lambda _: container.jobs.get(self._claim.job_id))
        dataset = self._sink.persist(lambda _: container.datasets.get(job.dataset_id))
        with (
            container.artifacts.local(f"datasets/{dataset.id}") as dataset_dir,
            container.artifacts.scratch() as work_dir,
            ExitStack() as stack,
        ):
            found = self._find_checkpoint(job, stack)
            yield TrainingRequest(
                job_id=job.id,
                attempt=self._claim.attempt,
                config=job.config,
                dataset=dataset,
                dataset_dir=dataset_dir,
                work_dir=work_dir,
                checkpoint=found.pointer if found else None,
                checkpoint_path=found.path if found else None,
            )

    def _find_checkpoint(self, job: Job, stack: ExitStack) -> FoundCheckpoint | None:
        if job.checkpoint is None:
            return None
        found = find_checkpoint(self._container.artifacts, job.checkpoint, stack)
        if found.damage is not None:
            damage = found.damage
            logger.warning("checkpoint_damaged", extra={"reason": damage, "epoch": found.pointer.epoch, "step": found.pointer.step})
            self._sink.persist(lambda _: self._container.attempts.fall_back(self._claim, found.pointer, damage))
        return found

    def _train(self, request: TrainingRequest) -> TrainingOutcome:
        # Here, not above: the parent imports this module's neighbours and must stay without torch.
        import torch

        from heimdall.training.loop import train

        torch.set_num_threads(self._container.settings.resolved_torch_threads)
        with self._sink.writing():
            return train(request, self._sink)

    def _finish(self, outcome: TrainingOutcome) -> None:
        attempts, claim = self._container.attempts, self._claim
        model = outcome.model
        if model is not None:
            logger.info("storing_model", extra={"size_bytes": model.onnx_path.stat().st_size})
            self._sink.persist(lambda _: attempts.finish_completed(claim, model))
        elif outcome.stopped_for is PendingAction.CANCEL:
            self._sink.persist(lambda _: attempts.finish_cancelled(claim))
        elif self._control.asked is not None:
            self._sink.persist(lambda _: attempts.finish_paused(claim))
        else:
            self._sink.persist(lambda _: attempts.hand_back(claim))

    def _fail(self, message: str) -> ExitCode:
        detail = traceback.format_exc()
        logger.error("training_failed", extra={"reason": message})
        try:
            self._sink.persist(lambda _: self._container.attempts.finish_failed(self._claim, message, detail))
        except LeaseLostError:
            return ExitCode.LEASE_LOST
        except UnavailableError:
            return ExitCode.GAVE_UP
        return ExitCode.DONE


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no message"


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Torch and onnxruntime take up to a second to take their thread pools down; everything is written already.
    os._exit(code)
