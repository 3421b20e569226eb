"""`init`: found a federation in a new home."""

import json
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from coordinator.commands.output import home_of
from coordinator.home.settings import Settings
from shared.errors.inputs import InvalidArgument
from shared.terminal import print_line

_DEFAULTS = Settings(federation="none").model_dump()

_TEMPLATE = """\
# Settings of this coordinator. A key that does not exist stops the start. After a change, restart `serve`.

federation = {federation}
host = {host}                    # where the ports are bound
advertised_host = {advertised_host}                  # the name others reach them by; empty: `host`
enrolment_port = {enrolment_port}                # server TLS: newcomers with a token
main_port = {main_port}                     # mutual TLS: members
fleet_port = {fleet_port}                    # Flower's Fleet API, for sites
fleet_host = {fleet_host}                       # the name of the fleet port's host, when it is another
behind_balancer = {behind_balancer}             # true: a balancer stands before the ports and limits calls by address
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
    behind_balancer: Annotated[
        bool, typer.Option("--behind-balancer", help="A balancer before the ports limits calls by address.")
    ] = False,
    protocol: Annotated[str, typer.Option(help="The protocol every member must hold.")] = _DEFAULTS["protocol"],
    database_url: Annotated[str, typer.Option(help="SQLAlchemy URL of a PostgreSQL database, without password.")] = "",
    database_password_file: Annotated[Path | None, typer.Option(help="File with the database's password.")] = None,
    key_passphrase_file: Annotated[
        Path | None, typer.Option(help="File with the passphrase of the keys that sign.")
    ] = None,
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
        "behind_balancer": behind_balancer,
        "protocol": protocol,
        "database": database_url,
    }
    text = _TEMPLATE.format_map({name: json.dumps(value, ensure_ascii=False) for name, value in values.items()})
    secrets = {"database_password_file": database_password_file, "key_passphrase_file": key_passphrase_file}
    for name, file in secrets.items():
        if file is not None:
            values[name] = str(file.resolve())
            text += f"{name} = {json.dumps(values[name])}\n"
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "--" + "-".join(str(part).replace("_", "-") for part in first["loc"]) if first["loc"] else "The ports"
        raise InvalidArgument(name=name, problem=first["msg"].removeprefix("Value error, ")) from None
    from coordinator.service.composition import init_home

    home = home_of(context)
    identity = init_home(home, settings, text)
    print_line(f"Federation {federation} founded in {home.folder}.")
    installed = identity.protocol
    print_line(f"Signing key {identity.signing_key.fingerprint}.")
    print_line(f"Protocol {installed.protocol}, edition {installed.edition}, digest {installed.digest}.")
    print_line(f"Next: ricord-coordinator --home {home.folder} serve")
