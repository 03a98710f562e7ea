"""From click to effect: pause and cancel of a running job over REST, in the embedded size.

Run: ``.venv/bin/python -m bench.control_latency [--rounds 20]``. Target: one optimizer step plus 150 ms to the effect inside the
loop; measured here is the whole way, request sent to event at a socket, the checkpoint's write included.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from websockets.sync.client import connect

from bench.reporting import print_table, summarize
from tests.instance import Heimdall


def measure(instance: Heimdall, job_id: str, action: str) -> float:
    """Return ms from the request to the event that says it is done."""
    with connect(f"ws://127.0.0.1:{instance.port}/ws/training/{job_id}") as socket:
        wanted = {"pause": "training_paused", "cancel": "training_cancelled"}[action]
        json.loads(socket.recv(timeout=30))
        while json.loads(socket.recv(timeout=60))["seq"] is not None:
            pass  # a tick: the loop is between two steps of an epoch
        start = time.perf_counter()
        if action == "pause":
            instance.client.post(f"/training/pause/{job_id}")
        else:
            instance.client.delete(f"/training/jobs/{job_id}")
        while json.loads(socket.recv(timeout=60))["event"] != wanted:
            pass
        return (time.perf_counter() - start) * 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        instance = Heimdall(Path(folder) / "data", {"HEIMDALL_LEASE_S": "10"})
        instance.start()
        try:
            dataset = instance.create_synthetic(num_examples=20_000)
            settings = {"epochs": 100_000, "batch_size": 64, "checkpoint_every_n_epochs": 5}
            pause, cancel = [], []
            job_id = instance.create_job(dataset["id"], **settings)
            instance.wait_job(job_id, {"running"})
            for _ in range(options.rounds):
                pause.append(measure(instance, job_id, "pause"))
                instance.client.post(f"/training/resume/{job_id}")
                instance.wait_job(job_id, {"running"})
            cancel.append(measure(instance, job_id, "cancel"))
            for _ in range(max(1, options.rounds // 3)):
                job_id = instance.create_job(dataset["id"], **settings)
                instance.wait_job(job_id, {"running"})
                cancel.append(measure(instance, job_id, "cancel"))
        finally:
            instance.stop()
    print_table("click to effect, ms", {"pause": summarize(pause), "cancel": summarize(cancel)})


if __name__ == "__main__":
    main()
