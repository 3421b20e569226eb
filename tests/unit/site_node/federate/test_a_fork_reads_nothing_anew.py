"""What every answer needs and no answer changes is read by the worker once, before it forks."""

from shared.protocol.loader import protocol_names, protocol_with
from site_node.federate.worker import warm_up


def test_the_worker_reads_the_protocols_before_it_forks() -> None:
    """Else each fork that counts parses them all: of a query's two such stages, most of its time."""
    protocol_with.cache_clear()
    warm_up()
    assert protocol_with.cache_info().currsize == len(protocol_names())
