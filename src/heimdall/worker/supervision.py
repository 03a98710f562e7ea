"""One child process under supervision: heartbeat, log, control, stall, end.

The parent holds the lease; the child writes its own results under the same claim. Whatever happens
to the child, its job leaves ``running`` within seconds and by the truth: the child's own word where
it had one, else what the process's end means.
"""

from __future__ import annotations

import logging
import math
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import IO, Final

import psutil

from heimdall.domain.errors import LeaseLostError, LockedError, NotFoundError, UnavailableError
from heimdall.domain.events import RequeueCause
from heimdall.domain.jobs import Claim, Job, PendingAction
from heimdall.domain.training import EpochReport, Phase
from heimdall.services.attempts import AttemptService
from heimdall.settings import Settings
from heimdall.worker.exits import describe_exit
from heimdall.worker.output import OutputLog
from heimdall.worker.slate import Slate

_LOOK_S: Final = 0.5
"""s between the parent's own looks for pause and cancel; the child looks more often, this one finds a hung child."""
_TICK_S: Final = 0.2
_STOPPED_NOTICE_S: Final = 5.0
"""s without a step after which a child that something stopped (SIGSTOP) is told of: no patience makes it go on."""
_KILL_AFTER_S: Final = 0.5
"""s between SIGTERM and SIGKILL of a child that did not obey."""
_LONGEST_TURN_S: Final = 15.0
"""s that one turn may add to a child's silence: where this process itself was frozen, its child most likely was too."""
_WRITE_FINAL_S: Final = 30.0
"""s that a worker which was asked to stop tries to write the end of an attempt; after that the lease runs out and a sweeper does it."""

logger = logging.getLogger(__name__)


_SILENT: Final = {
    None: "Starting, and no sign of progress",
    Phase.PREPARING: "Preparing the data, and no sign of progress",
    Phase.STEPS: "No step",
    Phase.EXPORTING: "Exporting and measuring the network, and no sign of progress",
}


class StopRequest(Enum):
    """What the worker as a whole was told."""

    NONE = "none"
    DRAIN = "drain"
    AT_ONCE = "at_once"


@dataclass
class TrainingProcess:
    """A running child, its output, the pipe on which it says that steps go on, and what it leaves where it is killed."""

    process: subprocess.Popen[bytes]
    beats: IO[bytes]
    slate: Slate

    @property
    def output(self) -> IO[bytes]:
        """Standard output and error of the child."""
        assert self.process.stdout is not None
        return self.process.stdout

    def close(self) -> None:
        """Close the pipes and let go of the slate."""
        for stream in (self.process.stdin, self.output, self.beats, self.slate):
            if stream is not None:
                stream.close()


@dataclass
class _Watch:
    """What the supervisor knows of its child, in monotonic seconds."""

    turned_at: float
    silent_s: float = 0.0
    """s without a sign of progress, as far as this process was awake itself."""
    say_silent_at_s: float = math.inf
    is_silence_said: bool = False
    notice_before: str | None = None
    phase: Phase | None = None
    has_stepped: bool = False
    heartbeat_at: float = 0.0
    look_at: float = 0.0
    asked: PendingAction | None = None
    asked_at: float | None = None
    terminated_at: float | None = None
    killed_at: float | None = None
    reason: str | None = None
    is_lease_lost: bool = False
    is_store_away: bool = False


class Supervisor:
    """Watches one child of one claim. For one thread, the one that started the child."""

    def __init__(
        self,
        *,
        attempts: AttemptService,
        settings: Settings,
        claim: Claim,
        child: TrainingProcess,
        stop_request: Callable[[], StopRequest],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._attempts = attempts
        self._settings = settings
        self._claim = claim
        self._child = child
        self._stop_request = stop_request
        self._monotonic = monotonic
        self._log = OutputLog(lambda lines: attempts.append_log(claim.job_id, lines))
        self._watch = _Watch(turned_at=monotonic(), say_silent_at_s=settings.silence_notice_s)

    def run(self) -> Job | None:
        """Watch until the child has ended and its job with it.

        Returns
        -------
        Job | None
            The job where this supervisor had to end the attempt, None where the child did (or another worker owns it now).
        """
        try:
            self._watch_child()
            self._read_rest()
        finally:
            self._kill()
            return_code = self._child.process.wait()
            left = self._child.slate.read()
            self._child.close()
        job = self._settle(return_code, left)
        self._close_log()
        return job

    def _watch_child(self) -> None:
        with selectors.DefaultSelector() as selector:
            for name, stream in (("output", self._child.output), ("beats", self._child.beats)):
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ, name)
            while self._child.process.poll() is None:
                for key, _ in selector.select(_TICK_S):
                    if not self._read(key.data):
                        selector.unregister(key.fileobj)
                if not selector.get_map():  # a child may close its pipes before it ends; without this the loop would spin
                    self._wait_briefly()
                self._guard("append_log", self._log.flush_if_due)
                self._keep_lease()
                self._look_at_control()
                self._note_silence()
                self._enforce()

    def _wait_briefly(self) -> None:
        try:
            self._child.process.wait(_TICK_S)
        except subprocess.TimeoutExpired:
            return

    def _read(self, name: str) -> bool:
        stream = self._child.output if name == "output" else self._child.beats
        try:
            chunk = os.read(stream.fileno(), 1 << 16)
        except BlockingIOError:
            return True
        if name == "output":
            self._log.feed(chunk)
        elif chunk:
            self._watch.silent_s = 0.0
            self._watch.phase = Phase(chr(chunk[-1]))
            self._watch.has_stepped = self._watch.has_stepped or self._watch.phase is not Phase.PREPARING
        return bool(chunk)

    def _read_rest(self) -> None:
        """Read what the ended child left in the pipe, without waiting for a grandchild that holds it open."""
        try:
            while chunk := os.read(self._child.output.fileno(), 1 << 16):
                self._log.feed(chunk)
        except BlockingIOError:
            return

    def _keep_lease(self) -> None:
        now = self._monotonic()
        if now < self._watch.heartbeat_at or self._watch.is_lease_lost:
            return
        self._watch.heartbeat_at = now + self._settings.heartbeat_s
        self._guard("heartbeat", lambda: self._note_asked(self._attempts.heartbeat(self._claim)))

    def _look_at_control(self) -> None:
        now = self._monotonic()
        if now < self._watch.look_at or self._watch.is_lease_lost:
            return
        self._watch.look_at = now + _LOOK_S
        self._guard("read_control", lambda: self._note_asked(self._attempts.read_control(self._claim)))

    def _note_silence(self) -> None:
        """Say on the job that its child seems to hang, again each time the silence has doubled; and that it goes on."""
        watch, now = self._watch, self._monotonic()
        watch.silent_s += min(now - watch.turned_at, _LONGEST_TURN_S)
        watch.turned_at = now
        if watch.is_lease_lost or watch.terminated_at is not None:
            return
        soon_s = min(_STOPPED_NOTICE_S, self._settings.silence_notice_s)
        if watch.silent_s >= watch.say_silent_at_s or (watch.silent_s >= soon_s and not watch.is_silence_said and self._is_stopped()):
            self._guard("note_waiting", self._say_silent)
        elif watch.is_silence_said and watch.silent_s < soon_s:
            self._guard("note_waiting", self._say_going_on)

    def _say_silent(self) -> None:
        watch, is_stopped = self._watch, self._is_stopped()
        what = "The training process was stopped from outside, and no step" if is_stopped else _SILENT[watch.phase]
        limit_s = self._settings.stall_timeout_s
        for_s = min(watch.say_silent_at_s, max(_STOPPED_NOTICE_S, math.floor(watch.silent_s)))
        notice = f"{what} for more than {for_s:g} s. The worker ends this attempt at {limit_s:g} s; nothing saved is lost."
        # What comes before and after the steps has its quiet stretches; that is told, but is no alarm.
        is_alarm = watch.phase is Phase.STEPS or is_stopped
        before = self._attempts.note_waiting(self._claim, notice, silent_s=watch.silent_s if is_alarm else None)
        if not watch.is_silence_said:
            watch.notice_before = before
            logger.warning("no_sign_of_progress", extra={"job_id": self._claim.job_id, "silent_s": round(watch.silent_s), "what": what})
        watch.is_silence_said = True
        if watch.silent_s >= watch.say_silent_at_s:
            watch.say_silent_at_s *= 2

    def _say_going_on(self) -> None:
        self._attempts.note_waiting(self._claim, self._watch.notice_before)
        self._watch.is_silence_said = False
        self._watch.say_silent_at_s = self._settings.silence_notice_s
        logger.info("progress_again", extra={"job_id": self._claim.job_id})

    def _is_stopped(self) -> bool:
        """Whether something stopped the child (SIGSTOP)."""
        with suppress(psutil.NoSuchProcess):
            return bool(psutil.Process(self._child.process.pid).status() == psutil.STATUS_STOPPED)
        return False

    def _note_asked(self, asked: PendingAction | None) -> None:
        if asked is not None and self._watch.asked_at is None:
            self._watch.asked_at = self._monotonic()
        self._watch.asked = asked

    def _guard(self, what: str, call: Callable[[], None]) -> None:
        """Do one thing with the store: a lost lease ends the child, a store that is away is asked again next time, and said once."""
        try:
            call()
        except (LeaseLostError, NotFoundError):
            self._watch.is_lease_lost = True
        except UnavailableError as error:
            if isinstance(error, LockedError):
                self._end_if_frozen()
            if not self._watch.is_store_away:
                self._watch.is_store_away = True
                logger.warning("store_did_not_answer", extra={"job_id": self._claim.job_id, "during": what, "reason": error.detail})
        else:
            if self._watch.is_store_away:
                self._watch.is_store_away = False
                logger.info("store_answers_again", extra={"job_id": self._claim.job_id})

    def _end_if_frozen(self) -> None:
        """End a child that something stopped (SIGSTOP) while the database is locked: it may be the one that holds the lock, for ever."""
        if self._is_stopped():
            self._watch.reason = "The training process was stopped from outside while the database was locked, and was ended."
            self._kill()

    def _enforce(self) -> None:
        watch, now = self._watch, self._monotonic()
        request = self._stop_request()
        if watch.is_lease_lost:
            # The child itself may have ended the attempt a moment ago and be about to exit.
            self._terminate(now, reason=None)
        elif request is StopRequest.AT_ONCE:
            self._kill()
        elif request is StopRequest.DRAIN and watch.terminated_at is None:
            self._terminate(now, reason=None)
            if watch.has_stepped:  # it may take its grace to write a checkpoint; before its first step there is nothing to write
                logger.info("asked_for_checkpoint", extra={"job_id": self._claim.job_id, "within_s": self._settings.stop_grace_s})
                watch.terminated_at = now + self._settings.stop_grace_s - _KILL_AFTER_S
        elif watch.asked is not None and not watch.has_stepped:
            # It is still loading its libraries and cannot hear; nothing was trained in this attempt, so nothing is lost.
            self._terminate(now, reason="The training process was ended before its first step.")
        elif watch.asked_at is not None and now - watch.asked_at >= self._settings.stop_grace_s:
            self._terminate(now, reason=f"The training process did not stop within {self._settings.stop_grace_s:g} s and was ended.")
        elif watch.silent_s >= self._settings.stall_timeout_s:
            self._terminate(now, reason=f"The training process made no step for {self._settings.stall_timeout_s:g} s and was ended.")
        if watch.terminated_at is not None and now - watch.terminated_at >= _KILL_AFTER_S:
            self._kill()

    def _terminate(self, now: float, *, reason: str | None) -> None:
        if self._watch.terminated_at is None:
            self._watch.terminated_at = now
            self._child.process.send_signal(signal.SIGTERM)
        if reason is not None:
            self._watch.reason = self._watch.reason or reason

    def _kill(self) -> None:
        if self._watch.killed_at is None and self._child.process.poll() is None:
            self._watch.killed_at = self._monotonic()
            self._child.process.kill()

    def _settle(self, return_code: int, left: Sequence[EpochReport]) -> Job | None:
        """Write the end of the attempt where the child did not, behind the epochs that it had no time to store."""
        deadline: float | None = None
        is_said = False
        while True:
            try:
                self._attempts.read_control(self._claim)
                if num_written := self._attempts.record_left(self._claim, left):
                    logger.info("epochs_of_ended_process_stored", extra={"job_id": self._claim.job_id, "epochs": num_written})
                return self._write_end(return_code)
            except (LeaseLostError, NotFoundError):
                return None
            except UnavailableError as error:
                extra = {"job_id": self._claim.job_id, "reason": error.detail}
                if self._stop_request() is not StopRequest.NONE:
                    deadline = deadline or self._monotonic() + _WRITE_FINAL_S
                    if self._monotonic() >= deadline:
                        logger.error("attempt_end_not_written", extra=extra)
                        return None
                if not is_said:
                    is_said = True
                    logger.warning("attempt_end_waits_for_store", extra=extra)
                time.sleep(_TICK_S)

    def _write_end(self, return_code: int) -> Job:
        if self._stop_request() is not StopRequest.NONE and self._watch.reason is None:
            return self._attempts.hand_back(self._claim)
        reason = self._watch.reason or describe_exit(return_code)
        cause = RequeueCause.PROCESS_STUCK if self._watch.reason else RequeueCause.PROCESS_LOST
        self._log.say(reason)
        return self._attempts.finish_lost(self._claim, reason, "\n".join(self._log.tail), cause=cause)

    def _close_log(self) -> None:
        try:
            self._log.close()
        except NotFoundError:  # the job was deleted as soon as it had ended
            return
