"""The peers in environments of their own under ``bench/out/peers``, which git ignores; ours is the project's."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "out" / "peers"
WANTED: Final = {"mlflow": "mlflow==3.17.*", "tensorboard": "tensorboard==2.21.*", "aim": "aim==3.29.*", "trackio": "trackio==0.43.*"}
_EXTRA: Final = ("setuptools<81",)
"""Some peers still import pkg_resources, and none says so."""


def install(peer: str, limit_s: float = 600) -> str | None:
    """Set a peer up where it is not yet; return why it could not be."""
    folder = FOLDER / peer
    stamp = folder / ".installed"
    if stamp.exists() and stamp.read_text() == WANTED[peer]:
        return None
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True, timeout=120)
        command = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", WANTED[peer], *_EXTRA]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return f"not installed within {limit_s:g} s"
    except subprocess.CalledProcessError as error:
        return f"could not be installed: {' '.join(str(error.stderr).split())[-200:]}"
    stamp.write_text(WANTED[peer])
    return None


def find_python(product: str) -> str:
    """Return the interpreter of a product."""
    return sys.executable if product == "heimdall" else str(FOLDER / product / "bin" / "python")


def read_version(product: str) -> str:
    """Return the installed version of a product."""
    code = f"import importlib.metadata; print(importlib.metadata.version({product!r}))"
    return subprocess.run([find_python(product), "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def torch_site() -> str:
    """Return where this environment's torch lies: a peer's environment looks there last, so that it is not installed five times."""
    return sysconfig.get_paths()["purelib"]
