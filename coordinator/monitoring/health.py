"""Whether a coordinator runs and answers, as another process sees it."""

from typing import TYPE_CHECKING

from grpc_health.v1 import health_pb2, health_pb2_grpc

from coordinator.home.settings import Home
from shared.errors.base import RicordError
from shared.errors.settings import KeyFileMissing, ServiceNotRunning, ServiceStuck
from shared.errors.transport import TransportError
from shared.monitoring.pulse import Pulse
from shared.wire import Credentials, connected

if TYPE_CHECKING:
    from coordinator.store.interface import Store

PROGRAM = "ricord-coordinator serve"
ENGINE_PROGRAM = "ricord-coordinator serve --federation-only"
_PATIENCE_SECONDS = 5.0
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- of a settings file, asked on this machine


def store_answers(store: "Store") -> bool:
    """Whether the store can be read."""
    try:
        with store.read() as reading:
            reading.membership()
    except RicordError:
        return False
    return True


def check_health(home: Home) -> None:
    """Ask the enrolment port of this machine; raises `ServiceNotRunning` or `ServiceStuck`, or what settings raise."""
    settings = home.settings()
    host = _ANY_ADDRESS.get(settings.host, settings.host)
    try:
        root = home.root.read_bytes()
    except OSError as error:
        raise KeyFileMissing(type(error).__name__, file=str(home.root)) from error
    try:
        with connected(f"{host}:{settings.enrolment_port}", Credentials(root)) as channel:
            request = health_pb2.HealthCheckRequest()
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=_PATIENCE_SECONDS)
    except TransportError as error:
        raise ServiceNotRunning(folder=str(home.folder), program=PROGRAM) from error
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise ServiceStuck(program=PROGRAM, problem="its database does not answer")


def engine_pulse(home: Home) -> Pulse:
    """The pulse of the process that executes federated runs in this home, or stands by for that."""
    return Pulse(home.federation / "pulse")


def check_engine(home: Home) -> None:
    """Raise `ServiceNotRunning` where no such process began here, `ServiceStuck` where it gives no sign of life."""
    pulse = engine_pulse(home)
    if pulse.silence() is None:
        raise ServiceNotRunning(folder=str(home.folder), program=ENGINE_PROGRAM)
    pulse.check(ENGINE_PROGRAM)
