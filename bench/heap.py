"""What a page's heap is made of: the browser's own snapshot, summed by kind of thing."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final

from playwright.sync_api import CDPSession

CODE: Final = ("code", "hidden", "object shape")
"""What the engine makes of the page's program, and not the page of its data."""


def collect(session: CDPSession) -> None:
    """Let the engine free what nothing holds."""
    for _ in range(2):
        session.send("HeapProfiler.collectGarbage")


def weigh(session: CDPSession) -> tuple[int, int]:
    """Return the B of data (objects, arrays, texts, numbers, elements) and the B of code that the page holds now."""
    chunks: list[str] = []

    def take(part: dict[str, Any]) -> None:
        chunks.append(part["chunk"])

    collect(session)
    session.on("HeapProfiler.addHeapSnapshotChunk", take)
    session.send("HeapProfiler.takeHeapSnapshot", {"reportProgress": False})
    session.remove_listener("HeapProfiler.addHeapSnapshotChunk", take)
    return sum_kinds(json.loads("".join(chunks)))


def sum_kinds(snapshot: dict[str, Any]) -> tuple[int, int]:
    """Return the B of data and of code in a snapshot: one flat list of nodes, whose fields its head names."""
    meta = snapshot["snapshot"]["meta"]
    fields: list[str] = meta["node_fields"]
    kinds: list[str] = meta["node_types"][fields.index("type")]
    nodes: list[int] = snapshot["nodes"]
    sizes: Counter[str] = Counter()
    for kind, size in zip(nodes[fields.index("type") :: len(fields)], nodes[fields.index("self_size") :: len(fields)], strict=True):
        sizes[kinds[kind]] += size
    code = sum(sizes[kind] for kind in CODE)
    return sizes.total() - code, code
