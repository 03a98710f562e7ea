"""A RabbitMQ node of the campaign's own, with its own port mapper and cookie, behind a proxy that can be cut."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import psutil

from chaos.proxy import Proxy
from chaos.servers import MissingServerError, find_free_port, is_listening, wait_until

_PACKAGED: Final = "/usr/lib/rabbitmq/bin/rabbitmq-server"
"""Debian's own; the one on the path there is a wrapper that insists on the machine's folders and user."""
_NUM_CANARIES: Final = 20
_KINDS: Final = ("cpu", "gpu", "dataset")


def find_program() -> str:
    """Return the path of rabbitmq-server. MissingServerError."""
    program = shutil.which(_PACKAGED) or shutil.which("rabbitmq-server")
    if program is None or shutil.which("epmd") is None:
        raise MissingServerError("rabbitmq-server is not installed (Debian: apt-get install rabbitmq-server).")
    return program


class RabbitNode:
    """One node in a folder; nothing of it touches another RabbitMQ of this machine."""

    def __init__(self, folder: Path) -> None:
        self._program = find_program()
        self._folder = folder / "rabbitmq"
        self._folder.mkdir()
        self.port = find_free_port()
        self._epmd_port = find_free_port()
        self._name = f"chaos-{secrets.token_hex(5)}@localhost"
        self._dist_port = find_free_port()
        self._write_settings()
        self._epmd: subprocess.Popen[bytes] | None = None
        self._node: subprocess.Popen[bytes] | None = None

    def _write_settings(self) -> None:
        (self._folder / "rabbitmq.conf").write_text(f"listeners.tcp.local = 127.0.0.1:{self.port}\n")
        (self._folder / "plugins").write_text("[].\n")
        (self._folder / "env.conf").touch()
        cookie = self._folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)

    def _environment(self) -> dict[str, str]:
        folder = self._folder
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_", "HEIMDALL_"))}
        return {
            **inherited,
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the node: one process that takes signals itself
            "RABBITMQ_NODENAME": self._name,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def launch(self) -> None:
        """Begin to start the node."""
        if self._epmd is None:
            self._epmd = self._spawn(["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"])
            wait_until(lambda: is_listening(self._epmd_port), 10, "the port mapper listens")
        self._node = self._spawn([self._program])

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self._folder / "output").open("ab") as output:
            return subprocess.Popen(
                command,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Wait until the launched node takes connections. RuntimeError, TimeoutError."""

        def is_ready() -> bool:
            if self._node is None or self._node.poll() is not None:
                raise RuntimeError(f"RabbitMQ ended at its start: {(self._folder / 'output').read_text(errors='replace')[-1500:]}")
            return is_listening(self.port)

        wait_until(is_ready, 120, "RabbitMQ listens")

    def write_tables(self) -> None:
        """Have the node write its tables of queue names, which RabbitMQ 3.10 itself does once they were left alone for three minutes.

        A node killed before that finds its queues without their log, and without a leader for ever (docs/reliability.md).
        """
        command = [str(Path(self._program).with_name("rabbitmqctl")), "-n", self._name, "eval", "[ok = dets:sync(T) || T <- dets:all()]."]
        subprocess.run(
            command, env=self._environment(), cwd=self._folder, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60
        )

    def end(self, *, is_killed: bool) -> None:
        """Stop the node cleanly or by SIGKILL, and see its helpers gone. TimeoutError."""
        if self._node is None:
            return
        try:
            helpers = psutil.Process(self._node.pid).children(recursive=True) if self._node.poll() is None else []
            if is_killed:
                self._node.kill()
            else:
                self._node.terminate()
            self._node.wait(60)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError("RabbitMQ did not end within 60 s of SIGTERM") from error
        for helper in psutil.wait_procs(helpers, timeout=5)[1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                helper.kill()
        self._node = None

    def close(self) -> None:
        """Stop for good, with the port mapper."""
        self.end(is_killed=True)
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None


class RabbitServer:
    """A node and the proxy through which the installation reaches it."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self._prefix = prefix
        self.node = RabbitNode(folder)
        self._proxy = Proxy(self.node.port)
        self.url = f"amqp://guest:guest@127.0.0.1:{self._proxy.port}//"

    def stop(self) -> None:
        """Make the broker gone."""
        self._proxy.cut()

    def start(self) -> None:
        """Let the broker come back."""
        self._proxy.mend()

    def close(self) -> None:
        """End node and proxy."""
        self.node.close()
        self._proxy.close()

    # what must survive the node's end

    def _connect(self) -> Any:  # noqa: ANN401
        import amqp  # type: ignore[import-untyped]

        return amqp.Connection(f"127.0.0.1:{self.node.port}", confirm_publish=True, connect_timeout=5)

    def leave_canaries(self) -> dict[str, int]:
        """Put confirmed messages into a quorum queue of this campaign; returns what :meth:`check_canaries` expects to find."""
        import amqp

        name = f"{self._prefix}.canary"
        with self._connect() as connection:
            kept = {f"{self._prefix}.{kind}": 0 for kind in _KINDS if _has_queue(connection, f"{self._prefix}.{kind}")}
            channel = connection.channel()
            channel.queue_declare(name, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
            channel.queue_purge(name)
            for number in range(_NUM_CANARIES):
                channel.basic_publish_confirm(amqp.Message(str(number), delivery_mode=2), routing_key=name)
        return {**kept, name: _NUM_CANARIES}

    def check_canaries(self, expected: dict[str, int]) -> None:
        """Find every queue again, and every confirmed message. AssertionError."""
        with self._connect() as connection:
            missing = [name for name in expected if not _has_queue(connection, name)]
            if missing:
                raise AssertionError(f"queues did not survive the node's end: {missing}")
            name = f"{self._prefix}.canary"
            channel = connection.channel()
            found = set()
            while (message := channel.basic_get(name, no_ack=True)) is not None:
                found.add(int(message.body))
        if found != set(range(expected[name])):
            raise AssertionError(f"{expected[name] - len(found)} of {expected[name]} confirmed messages did not survive the node's end")


def _has_queue(connection: Any, name: str) -> bool:  # noqa: ANN401
    from amqp.exceptions import NotFound  # type: ignore[import-untyped]

    with contextlib.suppress(NotFound):
        channel = connection.channel()
        channel.queue_declare(name, passive=True)
        channel.close()
        return True
    return False
