"""A line that passes nothing is noticed: within seconds by a call that waits, within a minute by any other."""

from shared.wire import _CLIENT_OPTIONS, PROMPT_OPTIONS, SERVER_OPTIONS

PROMPT, CLIENT, SERVER = dict(PROMPT_OPTIONS), dict(_CLIENT_OPTIONS), dict(SERVER_OPTIONS)


def test_a_call_that_waits_hears_of_it_within_six_seconds() -> None:
    """And is tried again within four, however the line went; it pings for as long as it waits."""
    for timeout in ("grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms"):
        assert PROMPT["grpc.keepalive_time_ms"] + PROMPT[timeout] <= 6_000
    assert PROMPT["grpc.min_reconnect_backoff_ms"] <= 4_000
    assert PROMPT["grpc.http2.max_pings_without_data"] == 0  # no limit


def test_any_other_call_hears_of_it_within_a_minute() -> None:
    """On either side."""
    for options in (CLIENT, SERVER):
        assert options["grpc.keepalive_time_ms"] + options["grpc.keepalive_timeout_ms"] <= 60_000


def test_a_server_bears_as_many_pings_as_its_clients_send() -> None:
    """Else it would end their calls for too many."""
    assert SERVER["grpc.http2.min_ping_interval_without_data_ms"] < PROMPT["grpc.keepalive_time_ms"]


def test_a_call_is_made_once_and_a_port_is_one_servers() -> None:
    """What a try means is ours to say; a second server on a port fails and does not share it."""
    assert PROMPT["grpc.enable_retries"] == CLIENT["grpc.enable_retries"] == 0
    assert SERVER["grpc.so_reuseport"] == 0
