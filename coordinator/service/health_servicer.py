"""Health of both ports, and the time."""

import grpc
from grpc_health.v1 import health, health_pb2

from coordinator.home.identity import utc_now
from shared.member import DATE


class DatedHealth(health.HealthServicer):  # type: ignore[misc] # it ships no types
    """Health that states the time, by which a client tells its own wrong clock from a certificate that is over."""

    def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """As health does."""
        context.set_trailing_metadata(((DATE, utc_now().isoformat()),))
        return super().Check(request, context)
