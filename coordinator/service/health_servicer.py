"""Health of both ports, and the time."""

import threading

import grpc
from grpc_health.v1 import health, health_pb2

from coordinator.home.identity import utc_now
from coordinator.monitoring.health import store_answers
from coordinator.store.interface import Store
from shared.member import DATE


class DatedHealth(health.HealthServicer):  # type: ignore[misc] # it ships no types
    """Health: whether the store answers. It states the time, by which a client tells its own wrong clock from an end.

    Anybody may ask on the enrolment port, so the store is asked by a single caller at a time; others get its last
    answer.
    """

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self._asking = threading.Lock()
        self.set("", health_pb2.HealthCheckResponse.SERVING)

    def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """As health does."""
        context.set_trailing_metadata(((DATE, utc_now().isoformat()),))
        if self._asking.acquire(blocking=False):
            try:
                answers = store_answers(self._store)
            finally:
                self._asking.release()
            states = health_pb2.HealthCheckResponse
            self.set("", states.SERVING if answers else states.NOT_SERVING)
        return super().Check(request, context)
