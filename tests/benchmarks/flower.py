"""Flower as it is installed: `flower-superlink`, a `flower-supernode` for each site, `flwr run`; no TLS, no keys."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.measure import wait_until
from tests.factories.ports import free_ports

START_SECONDS, RUN_SECONDS = 120, 480
_PROJECT = """
[project]
name = "bench"
version = "1.0.0"
description = "Nothing."
license = {{ file = "LICENSE" }}
dependencies = ["flwr>=1.42.0"]

[tool.flwr.app]
publisher = "bench"
fab-format-version = 1
flwr-version-target = "1.42.0"
fab-include = ["bench/*.py", "LICENSE"]
components = {{ serverapp = "bench.server:app", clientapp = "bench.client:app" }}
config = {{ {config} }}
"""


class Stock(NamedTuple):
    """A running SuperLink with its SuperNodes; the home holds what its commands read."""

    home: Path
    environment: Mapping[str, str]

    def run(self, client: str, server: str, **config: object) -> str:
        """Run an app of two modules once; returns the text that its ServerApp wrote to the file named `answer`.

        `config` are numbers, and `context.run_config` of the app holds them with `answer`. Raises `TimeoutError`.
        """
        app, answer = self.home / "app", self.home / "answer"
        answer.unlink(missing_ok=True)
        values = {**config, "answer": f"'{answer}'"}
        settings = " ".join(f"{name}={value}" for name, value in values.items())
        project = _PROJECT.format(config=", ".join(f"{name} = {value}" for name, value in values.items()))
        files = {"LICENSE": "MIT", "pyproject.toml": project, "bench/client.py": client, "bench/server.py": server}
        for name, text in {**files, "bench/__init__.py": ""}.items():
            (app / name).parent.mkdir(parents=True, exist_ok=True)
            (app / name).write_text(text, encoding="utf-8")
        command = [program("flwr"), "run", str(app), "bench", "--run-config", settings]
        subprocess.run(command, env=self.environment, check=True, capture_output=True, timeout=RUN_SECONDS)
        wait_until(lambda: answer.is_file() and answer.read_text(encoding="utf-8"), RUN_SECONDS, pause=0.05)
        return answer.read_text(encoding="utf-8")


def program(name: str) -> str:
    """A command beside this Python."""
    return str(Path(sys.executable).with_name(name))


@contextmanager
def stock_flower(home: Path, sites: int) -> Iterator[Stock]:
    """Its programs, which end with the block."""
    control, *own = free_ports(1 + sites)
    address = f"127.0.0.1:{control}"
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "bench"\n[superlink.bench]\naddress = "{address}"\ninsecure = true\n'
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # its programs start each other
    environment = os.environ | {"PATH": path, "FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0"}
    environment |= {"FLWR_DISABLE_UPDATE_CHECK": "1", "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1"}
    with ExitStack() as stack:

        def start(name: str, *words: str) -> None:
            process = subprocess.Popen(
                [program(name), "--insecure", *words],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)

        start("flower-superlink", "--host", "127.0.0.1", "--port", str(control))
        wait_until(lambda: listens(control), START_SECONDS)
        for port in own:
            start("flower-supernode", "--superlink", address, "--host", "127.0.0.1", "--port", str(port))
        yield Stock(home, environment)


def listens(port: int) -> bool:
    """Whether somebody listens on a port of this host."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
