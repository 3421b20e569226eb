"""The same work on a Ray cluster: one task for each study, tried once more where its worker is lost.

The cluster's machines read the source and the key, and write the outputs, under the same paths, and have this package
installed. Ray's own traffic is neither encrypted nor authenticated unless its TLS is on, and whoever reaches a cluster
can run programs on it; so a cluster that is not this machine's alone is refused without TLS.
"""

import ipaddress
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from shared.errors.inputs import InvalidArgument
from site_node.node.worker_processes import be_quiet
from site_node.node.workers import TRIES

T = TypeVar("T")
R = TypeVar("R")

LOCAL = "local"  # start a cluster here, for this run
_OPTION = "--ray-address"
_CERTIFICATES = ("RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")
_TASKS_PER_CPU = 2  # submitted ahead


class Ray:
    """A cluster at `host:port` or `ray://host:port`, or `local`.

    Raises `InvalidArgument` for a cluster that is not this machine's alone while Ray's TLS is off, and where Ray is
    not installed or does not answer.
    """

    def __init__(self, address: str = LOCAL, *, workers: int | None = None) -> None:
        self.is_local = is_here(address)
        if not self.is_local:
            check_tls()
        self._ray = _connect(address, workers)
        try:
            if not all(_is_own(node, self._ray) for node in self._ray.nodes()):
                check_tls()
        except InvalidArgument:
            self.close()
            raise
        self._max_submitted = _TASKS_PER_CPU * max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def run(self, work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[tuple[T, R | None]]:
        """Each task with its result, as they come."""
        remote = self._ray.remote(max_retries=TRIES - 1, num_cpus=1)(_quietly)
        under_way: dict[Any, T] = {}
        todo = iter(tasks)
        while True:
            while len(under_way) < self._max_submitted and (task := next(todo, None)) is not None:
                under_way[remote.remote(work, task)] = task
            if not under_way:
                return
            for reference in self._ray.wait(list(under_way))[0]:
                yield under_way.pop(reference), self._result(reference)

    def close(self) -> None:
        """Disconnect from the cluster; a local one ends."""
        self._ray.shutdown()

    def _result(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError:  # the worker was lost each time; the text may name files
            return None


def is_here(address: str) -> bool:
    """Whether an address is `local` or a loopback address."""
    if address == LOCAL:
        return True
    host = urlsplit(address if "://" in address else f"//{address}").hostname or ""
    return _is_loopback(host)


def check_tls() -> None:
    """Raise `InvalidArgument` unless Ray's TLS is on and its certificate files are there."""
    files = [os.environ.get(name, "") for name in _CERTIFICATES]
    if os.environ.get("RAY_USE_TLS") != "1" or not all(file and Path(file).is_file() for file in files):
        names = ", ".join(_CERTIFICATES)
        raise InvalidArgument(
            name=_OPTION, problem=f"a cluster on other machines needs RAY_USE_TLS=1 and the files {names}"
        )


def _connect(address: str, workers: int | None) -> ModuleType:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported to Ray's makers
    try:
        import ray
    except ImportError:
        problem = "Ray is not installed; install ricord-federation[simulation]"
        raise InvalidArgument(name="--engine ray", problem=problem) from None
    options: dict[str, Any] = {"address": address}
    if address == LOCAL:
        options |= {"num_cpus": workers, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(**options, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise InvalidArgument(name=_OPTION, problem="no cluster of this Ray version answers there") from error
    module: ModuleType = ray
    return module


def _is_own(node: dict[str, Any], ray: ModuleType) -> bool:
    address = str(node.get("NodeManagerAddress", ""))
    return not node.get("Alive") or _is_loopback(address) or address == ray.util.get_node_ip_address()


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _quietly(work: Callable[[T], R], task: T) -> R:
    be_quiet()
    return work(task)
