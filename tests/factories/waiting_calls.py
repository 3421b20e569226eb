"""A gRPC server behind the coordinator's admission, with a call that waits and a stream of uploads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import grpc

from coordinator.service.admission import Admission
from coordinator.service.slots import Slots
from coordinator.trust.interceptor import AccessInterceptor, Guarded, Outlet, no_check, without_thread

AWAIT, UPLOAD = "/ricord.v1.FederationService/Await", "/ricord.v1.SubmissionService/Upload"


@contextmanager
def serving_waiters(
    opened: Callable[[Any, Outlet], None],
    *,
    codec: tuple[Callable[[bytes], Any], Callable[[Any], bytes]] = (bytes, bytes),
    port: int = 0,
    threads: int = 2,
    at_once: int = 4,
    **options: int,
) -> Iterator[tuple[str, grpc.Server]]:
    """Serve while the block runs; `opened` gets each call that waits. Few threads, and few calls at once."""
    calls, streams = Slots(threads, at_once=1024), Slots(threads, at_once=at_once)

    def choose(behaviour: Guarded, context: grpc.ServicerContext) -> tuple[Slots, str]:
        lasts = behaviour.reads_stream and not behaviour.waits
        return (streams if lasts else calls), context.peer()

    @without_thread
    def wait(request: Any, context: grpc.ServicerContext, outlet: Outlet) -> None:
        del context
        opened(request, outlet)

    def upload(chunks: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        del context
        return str(sum(map(len, chunks))).encode()

    class Handlers(grpc.GenericRpcHandler):
        """Both methods."""

        def service(self, details: grpc.HandlerCallDetails) -> Any:
            """The handler of a call."""
            if details.method == AWAIT:
                return grpc.unary_stream_rpc_method_handler(wait, *codec)
            return grpc.stream_unary_rpc_method_handler(upload) if details.method == UPLOAD else None

    admission = Admission(choose)
    server = grpc.server(
        cast("Any", admission),
        handlers=[Handlers()],
        interceptors=[AccessInterceptor(no_check)],
        options=[(f"grpc.{name}", value) for name, value in options.items()],
    )
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"127.0.0.1:{bound}", server
    finally:
        server.stop(None).wait()
        admission.shutdown()
