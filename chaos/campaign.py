"""One campaign: undisturbed runs first, then many jobs and seeded faults, then the checker's word and the figures."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from chaos.checker import FINAL, Evidence, Expectation, Violation, check
from chaos.clients import Follower
from chaos.faults import FAULTS
from chaos.servers import wait_until
from chaos.world import Size, World

RECIPES: Final[dict[str, dict[str, Any]]] = {
    "deepsets": {"epochs": 14, "batch_size": 16, "seed": 1},
    "mlp-dropout": {"epochs": 16, "batch_size": 16, "seed": 2, "model_architecture": "mlp-baseline", "lr_scheduler": "onecycle"},
    "sparse-checkpoints": {"epochs": 12, "batch_size": 16, "seed": 3, "optimizer": "sgd", "checkpoint_every_n_epochs": 2},
}
_ACTIVE_JOBS: Final = 2
_EARLY_SHARE: Final = 0.2
"""Of the bursts that come while an attempt still starts."""
_NEEDED_FAULTS: Final[dict[str, frozenset[str]]] = {
    "embedded": frozenset({"kill -9 child", "kill -9 worker", "kill -9 server", "SIGTERM worker", "freeze worker beyond lease"}),
    "rabbitmq": frozenset({"broker restart", "kill -9 broker", "kill -9 worker"}),
    "redis": frozenset({"broker gone", "kill -9 worker"}),
}
"""What every campaign must have done, or it fails: they open it, in an order of the seed, and a slow machine gets more time for them."""
_MOST_TIMES_LONGER: Final = 5.0
"""How much longer than asked a campaign may go on for them."""
_END_S: Final = 300.0
_RECOVERY_LIMIT_S: Final = 120.0


@dataclass
class Report:
    """The figures of one campaign."""

    size: Size
    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    clicks: Counter[str] = field(default_factory=Counter)
    num_jobs: int = 0
    num_attempts: int = 0
    num_events: int = 0
    recoveries_s: list[float] = field(default_factory=list)
    slowest: str = ""
    seconds: float = 0.0
    left_out: list[str] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)

    def quantile_s(self, share: float) -> float | None:
        """Return a quantile of the recovery times."""
        ordered = sorted(self.recoveries_s)
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2) if ordered else None

    def to_dict(self) -> dict[str, Any]:
        """Return what is published."""
        body = {name: value for name, value in asdict(self).items() if name not in ("recoveries_s", "violations", "faults", "clicks")}
        return {
            **body,
            "seconds": round(self.seconds),
            "faults_injected": sum(self.faults.values()),
            "faults": dict(sorted(self.faults.items())),
            "clicks": dict(sorted(self.clicks.items())),
            "recovery_median_s": self.quantile_s(0.5),
            "recovery_p95_s": self.quantile_s(0.95),
            "num_recoveries": len(self.recoveries_s),
            "violations": [asdict(violation) for violation in self.violations],
        }


class Campaign:
    """Runs one campaign on a world that exists only for it."""

    def __init__(self, world: World, seed: int, *, say: bool = True) -> None:
        self._world = world
        self._seed = seed
        self._say_it = say
        self._expectations: dict[str, Expectation] = {}
        self._followers: dict[str, Follower] = {}
        self._paused: set[str] = set()
        self._dataset_id = ""
        self.report = Report(size=world.size, seed=seed)

    def run(self, seconds: float) -> Report:
        """Disturb for about ``seconds``, let everything end, check."""
        started = time.monotonic()
        world = self._world
        world.start()
        world.wait_ready()
        self._dataset_id = world.create_dataset()
        self._make_references()
        self._disturb(seconds)
        if missing := self._missing_faults():
            detail = f"could not be injected within {_MOST_TIMES_LONGER:g} times the time asked for; give it more with --seconds"
            self.report.violations.append(Violation("campaign", ", ".join(missing), detail))
        self._let_end()
        self._collect()
        left = world.stop()
        artifacts = world.data_dir / "artifacts"
        evidence = Evidence(world.database_url, artifacts, world.client_logs, self._expectations, left, world.harmed_files)
        self.report.violations += check(evidence)
        self.report.seconds = time.monotonic() - started
        return self.report

    def _make_references(self) -> None:
        for name in RECIPES:
            self._create(name, is_reference=True)
        self._wait_final(list(self._expectations), "the undisturbed runs end")
        self._say("undisturbed runs are done")

    def _create(self, recipe: str, *, is_reference: bool = False) -> None:
        world = self._world
        job_id = world.create_job(self._dataset_id, f"{recipe} {len(self._expectations)}", RECIPES[recipe])
        self._expectations[job_id] = Expectation(recipe, is_reference=is_reference)
        log = world.client_logs / f"{job_id}.steady.jsonl"
        self._followers[job_id] = Follower(world.port, job_id, log, seed=self._seed + len(self._expectations))

    def _missing_faults(self) -> list[str]:
        return sorted(_NEEDED_FAULTS[self._world.size] - self.report.faults.keys())

    def _disturb(self, seconds: float) -> None:
        rng = self._world.rng
        queue = list(FAULTS)
        rng.shuffle(queue)
        queue.sort(key=_NEEDED_FAULTS[self._world.size].__contains__)
        started = time.monotonic()
        deadline = started + _MOST_TIMES_LONGER * seconds
        while time.monotonic() < started + seconds or (self._missing_faults() and time.monotonic() < deadline):
            self._keep_busy()
            self._wait_for_work(deadline)
            time.sleep(rng.random() * 1.5)
            self._click()
            before = self._look_at_running()
            told: list[str] = []
            # Troubles do not come singly.
            for _ in range(rng.choice([1, 1, 2, 3])):
                if not queue:
                    queue = list(FAULTS)
                    rng.shuffle(queue)
                    queue.sort(key=self._missing_faults().__contains__)
                told += self._inject(queue.pop())
                time.sleep(rng.random() * 2)
            if told:
                self._note_recovery(before, "; ".join(told))

    def _keep_busy(self) -> None:
        active = [job for job in self._world.list_jobs() if job["status"] not in FINAL]
        for _ in range(_ACTIVE_JOBS - len(active)):
            self._create(self._world.rng.choice(list(RECIPES)))

    def _wait_for_work(self, deadline: float) -> None:
        """Wait until something trains (mostly; a start is worth hitting too): a fault that hits nobody proves nothing."""
        is_early = self._world.rng.random() < _EARLY_SHARE

        def is_hit(job: dict[str, Any]) -> bool:
            return bool(job["status"] == "running" and (is_early or (job["checkpoint"] or {}).get("attempt") == job["attempt"]))

        while time.monotonic() < deadline and not any(is_hit(job) for job in self._world.list_jobs()):
            self._resume_all()
            self._keep_busy()
            time.sleep(0.1)

    def _click(self) -> None:
        """Now and then a person pauses, resumes or cancels."""
        world = self._world
        self._resume_all()
        jobs = [job for job in world.list_jobs() if job["status"] in ("running", "pending")]
        if not jobs or world.rng.random() > 0.4:
            return
        job_id = world.rng.choice(jobs)["id"]
        if world.rng.random() < 0.7:
            self.report.clicks["pause"] += 1
            self._paused.add(job_id)
            world.request("POST", f"/training/jobs/{job_id}/pause")
        else:
            self.report.clicks["cancel"] += 1
            self._expectations[job_id] = Expectation(self._expectations[job_id].recipe, may_be_cancelled=True)
            world.request("DELETE", f"/training/jobs/{job_id}", params={"expect": "active"})

    def _resume_all(self) -> None:
        for job_id in list(self._paused):
            status = self._world.request("GET", f"/training/jobs/{job_id}")["status"]
            if status == "paused":
                self.report.clicks["resume"] += 1
                self._world.request("POST", f"/training/jobs/{job_id}/resume")
            if status == "paused" or status in FINAL:
                self._paused.discard(job_id)

    def _look_at_running(self) -> dict[str, dict[str, Any]]:
        return {job["id"]: job for job in self._world.list_jobs() if job["status"] == "running" and job["pending_action"] is None}

    def _inject(self, name: str) -> list[str]:
        told = FAULTS[name](self._world)
        if told is None:
            return []
        self.report.faults[name] += 1
        self._say(f"{name}: {told}")
        return [name]

    def _note_recovery(self, before: dict[str, dict[str, Any]], faults: str) -> None:
        """Measure from the end of the last fault: what went on while others still happened does not count."""
        ended_at = time.monotonic()
        after = {job["id"]: job for job in self._world.list_jobs()}
        open_still = {job_id: after[job_id] for job_id in before if after[job_id]["status"] in ("running", "pending")}
        recovery_s = self._measure_recovery(open_still, ended_at)
        if recovery_s is None:
            return
        self._say(f"  went on after {recovery_s:.1f} s")
        if recovery_s >= max(self.report.recoveries_s, default=0.0):
            self.report.slowest = faults
        self.report.recoveries_s.append(recovery_s)

    def _measure_recovery(self, before: dict[str, dict[str, Any]], ended_at: float) -> float | None:
        """Return s until each job that ran has a further epoch or its end; None where none ran."""
        waiting = dict(before)
        while waiting:
            now = {job["id"]: job for job in self._world.list_jobs()}
            waiting = {
                job_id: job
                for job_id, job in waiting.items()
                if now[job_id]["status"] not in ("completed", "failed", "cancelled", "paused") and not _went_on(job, now[job_id])
            }
            if time.monotonic() - ended_at > _RECOVERY_LIMIT_S:
                detail = f"did not go on within {_RECOVERY_LIMIT_S:g} s: {[now[job_id]['status'] for job_id in waiting]}"
                self.report.violations.append(Violation("recovery", ", ".join(waiting), detail))
                return _RECOVERY_LIMIT_S
            time.sleep(0.1)
        return time.monotonic() - ended_at if before else None

    def _let_end(self) -> None:
        self._world.start()

        def is_over() -> bool:
            self._resume_all()
            return all(job["status"] in FINAL for job in self._world.list_jobs())

        try:
            wait_until(is_over, _END_S, "every job ends")
        except TimeoutError as error:
            self.report.violations.append(Violation("end", "campaign", str(error)))

    def _wait_final(self, job_ids: list[str], what: str) -> None:
        wait_until(lambda: all(job["status"] in FINAL for job in self._world.list_jobs() if job["id"] in job_ids), _END_S, what)

    def _collect(self) -> None:
        jobs = self._world.list_jobs()
        for job in jobs:
            self._followers[job["id"]].stop(at_seq=job["last_seq"])
        self.report.num_jobs = len(jobs)
        self.report.num_attempts = sum(job["attempt"] for job in jobs)
        self.report.num_events = sum(job["last_seq"] for job in jobs)
        if not self._world.has_own_disk:
            self.report.left_out.append("disk full: no tmpfs can be mounted here (needs root on Linux)")

    def _say(self, text: str) -> None:
        if self._say_it:
            print(f"{time.strftime('%H:%M:%S')} [{self._world.size}] {text}", flush=True)  # noqa: T201


def _went_on(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Return whether an epoch was made durable since; a later attempt may train one again, which its own checkpoint shows."""
    if now["status"] != "running":
        return False
    has_own_checkpoint = now["attempt"] > before["attempt"] and (now["checkpoint"] or {}).get("attempt") == now["attempt"]
    return has_own_checkpoint or bool(now["current_epoch"] > before["current_epoch"])
