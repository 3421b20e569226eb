"""`init` and `serve`: the only verbs that work on the home itself instead of calling a coordinator."""

import json
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from coordinator.cohort.pooling import Pooling
from coordinator.cohort.service import CohortService
from coordinator.cohort.servicer import CohortServicer
from coordinator.commands.shown import home_of
from coordinator.config import Home, Settings
from coordinator.federation.registry import StoredNodes
from coordinator.federation.service import FederationService
from coordinator.federation.servicer import FederationServicer
from coordinator.founding import found, open_identity
from coordinator.identity import Identity
from coordinator.process import serve, stop_signals, stop_with_parent
from coordinator.server import Register
from coordinator.store.sql import SqlStore, open_store
from shared.errors import InvalidArgument
from shared.proto.ricord.v1 import cohort_pb2_grpc, federation_pb2_grpc
from shared.protocol.loader import load_protocol
from shared.terminal import print_line

_DEFAULTS = Settings.model_construct().model_dump()

_TEMPLATE = """\
# Settings of this coordinator. A key that does not exist stops the start. After a change, restart `serve`.

federation = {federation}
host = {host}                    # where the ports are bound
advertised_host = {advertised_host}                  # the name others reach them by; empty: `host`
enrolment_port = {enrolment_port}                # server TLS: newcomers with a token
main_port = {main_port}                     # mutual TLS: members
fleet_port = {fleet_port}                    # Flower's Fleet API, for sites
fleet_host = {fleet_host}                       # the name of the fleet port's host, when it is another
protocol = {protocol}
database = {database}                         # empty: SQLite in this folder; else postgresql+psycopg://USER@HOST/NAME
"""


def init(
    context: typer.Context,
    *,
    federation: Annotated[str, typer.Option(help="The federation's name: lower-case letters, digits, hyphens, dots.")],
    host: Annotated[str, typer.Option(help="Where the ports are bound.")] = _DEFAULTS["host"],
    advertised_host: Annotated[str, typer.Option(help="The name others reach the ports by, when it differs.")] = "",
    enrolment_port: Annotated[int, typer.Option(help="For newcomers.")] = _DEFAULTS["enrolment_port"],
    main_port: Annotated[int, typer.Option(help="For members.")] = _DEFAULTS["main_port"],
    fleet_port: Annotated[int, typer.Option(help="For federated work.")] = _DEFAULTS["fleet_port"],
    fleet_host: Annotated[str, typer.Option(help="The fleet port's host, when it is another.")] = "",
    protocol: Annotated[str, typer.Option(help="The protocol every member must hold.")] = _DEFAULTS["protocol"],
    database_url: Annotated[str, typer.Option(help="SQLAlchemy URL of a PostgreSQL database, without password.")] = "",
    database_password_file: Annotated[Path | None, typer.Option(help="File with the database's password.")] = None,
) -> None:
    """Found a federation: make the home with its root, keys, the operator's certificate and the settings."""
    values = {
        "federation": federation,
        "host": host,
        "advertised_host": advertised_host,
        "enrolment_port": enrolment_port,
        "main_port": main_port,
        "fleet_port": fleet_port,
        "fleet_host": fleet_host,
        "protocol": protocol,
        "database": database_url,
    }
    text = _TEMPLATE.format_map({name: json.dumps(value, ensure_ascii=False) for name, value in values.items()})
    if database_password_file is not None:
        values["database_password_file"] = str(database_password_file.resolve())
        text += f"database_password_file = {json.dumps(values['database_password_file'])}\n"
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "--" + "-".join(str(part).replace("_", "-") for part in first["loc"] or ("ports",))
        raise InvalidArgument(name=name, problem=first["msg"].removeprefix("Value error, ")) from None
    home = home_of(context)
    identity = found(home, settings, text, protocol_digest=load_protocol(protocol).digest)
    print_line(f"Federation {federation} founded in {home.folder}.")
    print_line(f"Signing key {identity.signing_key.fingerprint}; protocol {protocol} {identity.protocol_digest}.")
    print_line(f"Next: ricord-coordinator --home {home.folder} serve")


def serve_command(
    context: typer.Context,
    no_federation: Annotated[bool, typer.Option("--no-federation", help="The two gRPC ports only.")] = False,
    federation_only: Annotated[bool, typer.Option("--federation-only", help="Flower's side only.")] = False,
    supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False,
) -> None:
    """Serve until SIGTERM: enrolment, main and, unless told otherwise, the federation beside them."""
    if no_federation and federation_only:
        raise InvalidArgument(name="--federation-only", problem="it contradicts --no-federation")
    home = home_of(context)
    settings, identity, store = opened(home)
    try:
        if federation_only:
            _serve_federation(home, settings, identity, store, supervised=supervised)
        else:
            ready = f"ready: enrolment {settings.addresses.enrolment}, main {settings.addresses.main}"
            serve(
                home,
                settings,
                identity,
                store,
                more=_services(settings, identity, store),
                federation=not no_federation,
                ready=lambda: _say(ready),
            )
    finally:
        store.close()


def opened(home: Home) -> tuple[Settings, Identity, SqlStore]:
    """Settings, identity and store of a home; raises what reading them raises."""
    settings = home.settings()
    identity = open_identity(home, settings, protocol_digest=load_protocol(settings.protocol).digest)
    return settings, identity, open_store(home.dsn(settings))


def _services(settings: Settings, identity: Identity, store: SqlStore) -> tuple[Register, ...]:
    """Cohorts and federated runs: rows in the store here, worked off by the federation process."""
    runs = FederationService(store, identity, fleet_address=settings.fleet_address, nodes=StoredNodes(store))
    federation, cohort = FederationServicer(runs), CohortServicer(CohortService(store, runs))
    return (
        lambda server: federation_pb2_grpc.add_FederationServiceServicer_to_server(federation, server),
        lambda server: cohort_pb2_grpc.add_CohortServiceServicer_to_server(cohort, server),
    )


def _serve_federation(home: Home, settings: Settings, identity: Identity, store: SqlStore, *, supervised: bool) -> None:
    from coordinator.federation.process import serve_federation  # noqa: PLC0415 -- loads Flower, which takes seconds
    from coordinator.federation.superlink import SuperLinkSettings  # noqa: PLC0415 -- likewise

    superlink = SuperLinkSettings(
        folder=home.federation,
        host=settings.fleet_host or settings.host,
        port=settings.fleet_port,
        certificate=home.server_certificate,
        key=home.server_key,
    )
    with stop_signals() as stop:
        if supervised:
            stop_with_parent(stop)
        serve_federation(store, superlink, statistics=Pooling(store, identity), stop=stop)


def _say(line: str) -> None:
    typer.echo(line)  # typer flushes, so that a program that waits for the line sees it
