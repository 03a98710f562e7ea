"""A whole run with a token: jobs, sockets, errors, refused tokens, exports. No log line of any process holds a secret."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from urllib.parse import quote

import httpx
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.instance import Heimdall, wait_until

TOKEN = "s3cret&token of/this+run"
WRONG = "wr0ng-token-that-somebody-tried"


def test_no_log_of_a_whole_run_holds_a_token(launch: Callable[..., Heimdall]) -> None:
    instance = launch(HEIMDALL_TOKEN=TOKEN, HEIMDALL_LOG_LEVEL="debug", HEIMDALL_LOG_FORMAT="json")
    spelt = {TOKEN, quote(TOKEN, safe=""), quote(TOKEN), WRONG}
    with httpx.Client(base_url=instance.url, timeout=30) as browser:
        opened = browser.get("/training", params={"token": TOKEN})
        spelt.add(opened.cookies["heimdall_token"])
        browser.get("/training", params={"token": WRONG})
        browser.get("/api/v1/training/jobs", params={"token": TOKEN}, headers={"Authorization": f"Bearer {WRONG}"})
    instance.client.headers["Authorization"] = f"Bearer {TOKEN}"
    dataset = instance.create_synthetic(num_examples=300)
    job = instance.create_job(dataset["id"], epochs=1)
    instance.client.post("/training/jobs", json={"job_name": TOKEN[:0], "dataset_id": "x"})
    model = instance.wait_job(job, {"completed"})["model_id"]
    assert instance.client.get(f"/training/models/{model}/export").status_code == 200
    address = f"ws://127.0.0.1:{instance.port}/ws/training"
    with connect(address, additional_headers={"Authorization": f"Bearer {TOKEN}"}, proxy=None) as socket:
        socket.recv(timeout=10)
    with contextlib.suppress(InvalidStatus), connect(f"{address}?token={quote(TOKEN)}", proxy=None):
        pass
    logs = instance.get("/audit", limit=100)["entries"]
    text = instance.client.get(f"/training/jobs/{job}/logs").text + json.dumps(logs) + instance.client.get(f"{instance.url}/metrics").text
    assert instance.stop() == 0

    greeting = f"{instance.url}/?token={quote(TOKEN, safe='')}"
    lines = instance.log_path.read_text().splitlines()
    # Standard output greets the person once with the address that carries the token; it is no log, and only here the two share a file.
    assert sum(greeting in line for line in lines) == 1
    text += "\n".join(line for line in lines if greeting not in line)
    assert '"event": "request_served"' in text
    assert [secret for secret in spelt if secret in text] == []
    request_ids = {entry["request_id"] for entry in logs}
    assert all(request_id and request_id in text for request_id in request_ids)
    wait_until(lambda: not instance.processes(), 10, lambda: "processes are left")
