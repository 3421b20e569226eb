"""Threads for calls, and how many calls may want them at once: of one caller, and of all together."""

import ipaddress
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import grpc

from coordinator.trust.interceptor import Guarded, peer_of
from shared.crypto.pki import Role
from shared.errors.trust import CertificateForeign

CALLS_EACH = 16  # of one caller at once: running, waiting for a thread, or half-sent
_STREAMS_EACH = 8  # uploads and downloads: four at once, and those of a line that was cut
_CALLS = 1024  # of all callers
_THREADS = 16
_STREAMS = 128  # each holds a thread for as long as it lasts
_OPERATORS = 8  # threads for coordinators alone, who get in whatever members do
_SUBSCRIBER = {4: 32, 6: 64}  # bits of an address that tell one network's end from another's, by IP version


class Slots:
    """The threads for one kind of calls. A call counts from its headers to its end."""

    def __init__(self, threads: int, *, at_once: int, each: int | None = None) -> None:
        """At most `at_once` calls of all callers, and `each` of one (`None`: as many as of all)."""
        self.pool = ThreadPoolExecutor(threads)
        self._at_once = at_once
        self._each = at_once if each is None else each
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    def claim(self, caller: str) -> bool:
        """Count one more call of `caller`; `False`, and nothing counted, where that is more than may be."""
        with self._lock:
            if self._open.total() >= self._at_once or self._open[caller] >= self._each:
                return False
            self._open[caller] += 1
            return True

    def release(self, caller: str) -> None:
        """Count a claimed call no more."""
        with self._lock:
            self._open[caller] -= 1
            if not self._open[caller]:
                del self._open[caller]


Choose = Callable[[Guarded, grpc.ServicerContext], tuple[Slots, str]]  # for a call: its slots, and its caller


def by_address(*, each: int | None) -> Choose:
    """The slots of the enrolment port, whose callers have no name but their network's."""
    slots = Slots(_THREADS, at_once=_CALLS, each=each)
    return lambda _, context: (slots, network_of(context.peer()))


def by_certificate() -> Choose:
    """The slots of the main port: streams beside short calls, so that neither waits for the other, and operators'."""
    calls = Slots(_THREADS, at_once=_CALLS, each=CALLS_EACH)
    streams = Slots(_STREAMS, at_once=_STREAMS, each=_STREAMS_EACH)
    operators = Slots(_OPERATORS, at_once=_CALLS)

    def choose(behaviour: Guarded, context: grpc.ServicerContext) -> tuple[Slots, str]:
        try:
            peer = peer_of(context)
        except CertificateForeign:  # the check before the call says so
            return calls, ""
        if peer.role is Role.COORDINATOR:
            return operators, peer.uri
        lasts = (behaviour.reads_stream or behaviour.answers_stream) and not behaviour.waits
        return (streams if lasts else calls), peer.uri

    return choose


def network_of(peer: str) -> str:
    """The network of a peer as gRPC writes it (`ipv4:192.0.2.1:5000`, `ipv6:%5B2001:db8::1%5D:5000`)."""
    host = unquote(peer.partition(":")[2]).rpartition(":")[0].strip("[]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return peer
    return str(ipaddress.ip_network((address, _SUBSCRIBER[address.version]), strict=False))
