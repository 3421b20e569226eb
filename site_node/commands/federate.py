"""`federate`: federated statistics and training, and nothing else."""

from typing import Annotated

import typer

from shared.counts import counted
from shared.errors.agreements import AgreementModeNotAllowed
from shared.errors.trust import NotEnrolled
from shared.extras import ENGINE, require_extra
from shared.terminal import print_json, print_line
from site_node.commands.options import Json, home_of
from site_node.node.federation import answer_messages
from site_node.node.open import membership_of
from site_node.node.service import until_signal


def federate(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="End when nothing came for a minute.")] = False,
    as_json: Json = False,
) -> None:
    """Take part in federated statistics and training as federation-policy.toml allows; images stay here.

    What leaves the hospital: masked sums and model weights, each message vetted by the policy first.

    Example: `ricord-site federate`
    """
    home = home_of(context)
    settings = home.load()
    membership = membership_of(home)
    if membership is None:
        raise NotEnrolled(folder=str(home.folder))
    if not membership.federated_modes:
        raise AgreementModeNotAllowed(mode="statistics or training")
    require_extra("federation", *ENGINE)
    with until_signal() as stop:
        if not as_json:
            print_line("ready")
        answered = answer_messages(home, membership, settings.protocol, stop, once=once)
    if as_json:
        print_json({"answered": answered})
    else:
        print_line(f"{counted(answered, 'message', 'was')} answered.")
