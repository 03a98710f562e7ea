"""What can be done to a running installation. Each fault is a function of the world that returns when the fault itself is over."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from chaos.clients import RudeClient
from chaos.rabbit import RabbitServer
from chaos.world import LEASE_S, World

if TYPE_CHECKING:
    from celery import Celery

Fault = Callable[[World], str | None]
"""Returns what was done, or None where there was nothing to do it to."""


def kill_child(world: World) -> str | None:
    """Kill -9 of one training process."""
    children = world.find("child")
    return _killed(world, children and [world.rng.choice(children)])


def kill_worker(world: World) -> str | None:
    """Kill -9 of one worker; its children must go with it."""
    workers = world.find("worker")
    told = _killed(world, workers and [world.rng.choice(workers)])
    world.start_second_worker()
    return told


def kill_api(world: World) -> str | None:
    """Kill -9 of the server."""
    return _killed(world, world.find("api"))


def kill_everything(world: World) -> str | None:
    """Kill -9 of every process, then a start."""
    told = _killed(world, world.find())
    world.start()
    return told


def _killed(world: World, processes: list[psutil.Process]) -> str | None:
    return f"killed {world.kill(processes)} process(es)" if processes else None


def stop_and_start(world: World) -> str:
    """Ctrl-C of everything while jobs run, then a start."""
    left = world.stop()
    if left:
        raise AssertionError(f"processes outlived Ctrl-C: {left}")
    world.start()
    return "stopped by SIGINT and started"


def drain_worker(world: World) -> str | None:
    """SIGTERM of one worker: it finishes the step, writes a checkpoint and hands its job back."""
    workers = world.find("worker")
    if not workers:
        return None
    chosen = world.rng.choice(workers)
    with contextlib.suppress(psutil.Error):
        chosen.terminate()
        chosen.wait(15)
    world.start_second_worker()
    return "told one worker to stop"


def freeze_worker(world: World) -> str | None:
    """SIGSTOP of a worker and its children for longer than the lease: when they wake up they must write nothing."""
    workers = world.find("worker")
    if not workers:
        return None
    chosen = world.rng.choice(workers)
    with contextlib.suppress(psutil.NoSuchProcess):
        return _freeze([chosen, *chosen.children(recursive=True)], LEASE_S * 2 + world.rng.random() * 2)
    return None


def freeze_child(world: World) -> str | None:
    """SIGSTOP of one training process for a moment: its worker keeps the lease."""
    children = world.find("child")
    return _freeze([world.rng.choice(children)], 1 + world.rng.random()) if children else None


def _freeze(processes: list[psutil.Process], seconds: float) -> str:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
    time.sleep(seconds)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()
    return f"froze {len(processes)} process(es) for {seconds:.1f} s"


def lock_database(world: World) -> str | None:
    """Another program holds the database's write lock for longer than the patience of a writer."""
    seconds = 2.5 + world.rng.random() * 3
    if world.postgres:
        import psycopg

        with contextlib.suppress(psycopg.Error), psycopg.connect(world.postgres.url) as server:
            server.execute("LOCK TABLE jobs, events IN ACCESS EXCLUSIVE MODE")
            time.sleep(seconds)
        return f"held PostgreSQL's tables for {seconds:.1f} s"
    with contextlib.suppress(sqlite3.OperationalError):
        connection = sqlite3.connect(world.database_url.removeprefix("sqlite:///"), isolation_level=None, timeout=10)
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")
        connection.close()
    return f"held SQLite's write lock for {seconds:.1f} s"


def restart_database(world: World) -> str | None:
    """PostgreSQL ends, cleanly or by a crash, and comes back."""
    if not world.postgres:
        return None
    mode = world.rng.choice(["fast", "immediate"])
    world.postgres.stop(mode)
    time.sleep(world.rng.random() * 3)
    world.postgres.start()
    return f"restarted PostgreSQL ({mode})"


def break_connections(world: World) -> str | None:
    """PostgreSQL ends every connection."""
    if not world.postgres:
        return None
    import psycopg

    with psycopg.connect(world.postgres.url, autocommit=True) as server:
        ended = server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = 'heimdall'"
        )
        return f"ended {ended.rowcount} database connections"


def lose_broker(world: World) -> str | None:
    """The broker is gone for a while (Redis forgets every message, RabbitMQ's connections break)."""
    if world.broker is None:
        return None
    seconds = world.rng.choice([1.0, 5.0, world.long_s])
    world.broker.stop()
    time.sleep(seconds)
    world.broker.start()
    return f"broker gone for {seconds:.0f} s"


def restart_broker(world: World) -> str | None:
    """RabbitMQ's node stops as its operator stops it, and starts again."""
    return _end_broker_node(world, is_killed=False)


def kill_broker(world: World) -> str | None:
    """Kill -9 of RabbitMQ's node, then a start."""
    return _end_broker_node(world, is_killed=True)


def _end_broker_node(world: World, *, is_killed: bool) -> str | None:
    if not isinstance(world.broker, RabbitServer):
        return None
    seconds = world.rng.random() * 3
    canaries = world.broker.leave_canaries()
    if is_killed:
        world.broker.node.write_tables()
    world.broker.node.end(is_killed=is_killed)
    time.sleep(seconds)
    world.broker.node.launch()
    world.broker.node.wait_ready()
    world.broker.check_canaries(canaries)
    return f"{'killed' if is_killed else 'stopped'} RabbitMQ, started it {seconds:.1f} s later; {len(canaries)} quorum queue(s) survived"


def deliver_again(world: World) -> str:
    """Every task is delivered again, several times and in a random order, finished jobs included."""
    job_ids = [job["id"] for job in world.list_jobs()] * 3
    world.rng.shuffle(job_ids)
    celery = _sender(world)
    num_sent = 0
    for job_id in [*job_ids[:60], "nobody"]:
        with contextlib.suppress(Exception):
            celery.send_task("heimdall.run_job", args=[job_id], queue=f"{world.prefix}.cpu", ignore_result=True)
            num_sent += 1
    celery.close()
    return f"delivered {num_sent} tasks again, in random order"


def lose_messages(world: World) -> str | None:
    """Every waiting message of the embedded broker is lost."""
    if world.broker is not None:
        return None
    num_lost = 0
    for path in (world.data_dir / "broker" / "queues").rglob("*"):
        if path.is_file():
            path.unlink(missing_ok=True)
            num_lost += 1
    return f"lost {num_lost} waiting message(s)" if num_lost else None


def _sender(world: World) -> Celery:
    from heimdall.queue.celery_app import make_celery

    return make_celery(world.broker.url if world.broker else None, world.data_dir, prefix=world.prefix)


def fill_disk(world: World) -> str | None:
    """The disk of the data folder (a small tmpfs) has no byte left for a while."""
    if not world.has_own_disk:
        return None
    seconds = 2 + world.rng.random() * 4
    filler = world.data_dir / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            for size in (1 << 22, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size) == size:
                        pass
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:  # take what a removal frees
                with contextlib.suppress(OSError):
                    file.write(b"x" * 4096)
                time.sleep(0.02)
    finally:
        filler.unlink(missing_ok=True)
    return f"no byte left for {seconds:.1f} s"


def damage_checkpoint(world: World) -> str | None:
    """The newest checkpoint of a killed attempt has a flipped bit, is torn, or is gone."""
    running = [job for job in world.list_jobs() if job["status"] == "running" and (job["checkpoint"] or {}).get("previous")]
    if not running:
        return None
    job = world.rng.choice(running)
    for child in world.find("child"):
        with contextlib.suppress(psutil.NoSuchProcess):
            if job["id"] in " ".join(child.cmdline()):
                child.suspend()  # nothing newer may be written between the look and the damage
    now = world.request("GET", f"/training/jobs/{job['id']}")
    path = world.data_dir / "artifacts" / now["checkpoint"]["key"]
    world.harmed_files.add(now["checkpoint"]["key"])
    harm = world.rng.choice(["flipped a bit of", "tore", "removed"])
    with contextlib.suppress(FileNotFoundError):
        _harm(world, path, harm)
    for child in world.find("child"):
        with contextlib.suppress(psutil.NoSuchProcess):
            if job["id"] in " ".join(child.cmdline()):
                child.kill()
    return f"{harm} the newest checkpoint of job {job['id'][:8]}"


def _harm(world: World, path: Path, harm: str) -> None:
    if harm == "removed":
        path.unlink()
        return
    content = bytearray(path.read_bytes())
    if harm == "tore":
        path.write_bytes(content[: world.rng.randrange(len(content))])
        return
    content[world.rng.randrange(len(content))] ^= 1 << world.rng.randrange(8)
    path.write_bytes(content)


def jump_clock(world: World) -> str:
    """The clock of every process jumps by an hour, then back."""
    offset_s = world.rng.choice([-3600, 3600])
    world.clock_offset.write_text(str(offset_s))
    time.sleep(LEASE_S + 1)
    world.clock_offset.write_text("0")
    return f"clock off by {offset_s} s for {LEASE_S + 1:.0f} s"


def pester_sockets(world: World) -> str:
    """Slow clients that read nothing, and vanish."""
    clients: list[RudeClient] = []
    for _ in range(10):
        with contextlib.suppress(OSError):
            clients.append(RudeClient(world.port))
    time.sleep(1)
    for client in clients:
        with contextlib.suppress(OSError):
            client.vanish()
    return f"{len(clients)} clients that read nothing and vanished"


def hang_up(world: World) -> str | None:
    """SIGTERM straight to a training process: it must not take its job along."""
    children = world.find("child")
    if not children:
        return None
    with contextlib.suppress(ProcessLookupError):
        os.kill(world.rng.choice(children).pid, signal.SIGTERM)
    return "SIGTERM to one training process"


FAULTS: Final[dict[str, Fault]] = {
    "kill -9 child": kill_child,
    "kill -9 worker": kill_worker,
    "kill -9 server": kill_api,
    "kill -9 everything": kill_everything,
    "Ctrl-C and start": stop_and_start,
    "SIGTERM worker": drain_worker,
    "SIGTERM child": hang_up,
    "freeze worker beyond lease": freeze_worker,
    "freeze child": freeze_child,
    "database locked": lock_database,
    "database restart": restart_database,
    "database connections cut": break_connections,
    "broker gone": lose_broker,
    "broker restart": restart_broker,
    "kill -9 broker": kill_broker,
    "tasks delivered again": deliver_again,
    "messages lost": lose_messages,
    "disk full": fill_disk,
    "checkpoint damaged": damage_checkpoint,
    "clock jump": jump_clock,
    "rude socket clients": pester_sockets,
}
