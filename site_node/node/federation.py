"""Federated work of the node: the thread that answers messages beside the stages.

Torch and Flower take seconds to load and most commands need neither, so this module imports them where they are used.
"""

import threading
from contextlib import closing
from typing import Self

import structlog

from shared.errors.base import InternalError, RicordError
from shared.extras import ENGINE, require_extra
from shared.member import member_channel
from shared.protocol.loader import load_edition
from site_node.federate.policy import POLICY_FILE, load_policy
from site_node.federate.state import StateFile
from site_node.home.clearing import clear_library
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.membership.record import Membership, load_membership
from site_node.membership.renewal import member_of
from site_node.membership.witness import Witness
from site_node.node.open import Node

log = structlog.get_logger(__name__)


def start_federation(node: Node, stop: threading.Event) -> threading.Thread | None:
    """Start federated work beside the stages; `None` where the site may not take part.

    A coordinator that is unreachable or not ready is tried again. Raises what `load_policy` raises: a policy that
    cannot be read must not look like one that allows nothing. Raises `ExtraMissing` where the engine is not installed.
    """
    membership = node.membership
    if membership is None or not membership.federated_modes:
        return None
    require_extra("federation", *ENGINE, otherwise=", or leave federated work out with `run --no-federation`")
    load_policy(node.home.folder / POLICY_FILE)

    def work() -> None:
        state = StateFile(node.home.federation)
        while not stop.is_set():
            with _Outcome() as outcome:
                current = load_membership(node.home)  # the agreement may have been amended
                answer_messages(node.home, current, node.settings.protocol, stop, once=False)
            if outcome.error is not None:
                error = outcome.error if isinstance(outcome.error, RicordError) else InternalError()
                log.warning("federation.problem", code=error.code, kind=type(outcome.error).__name__)
                state.say("stopped", problem=error.public)
                stop.wait(node.settings.poll_seconds)

    thread = threading.Thread(target=work, name="federation", daemon=True)
    thread.start()
    return thread


class _Outcome:
    """What a block raised, whatever it was: federated work is begun again after a defect, too."""

    error: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        self.error = error if isinstance(error, Exception) else None
        return self.error is not None


def answer_messages(home: SiteHome, membership: Membership, protocol: str, stop: threading.Event, *, once: bool) -> int:
    """Answer the federation's messages until `stop`, or with `once` until none came for a minute; return how many.

    Raises `EditionNotCovered` where the agreement does not cover the protocol installed, `AuditContradicted` while a
    contradiction in the coordinator's audit log stops what leaves, and what connecting raises.
    """
    from site_node.federate.awaiting import Awaited
    from site_node.federate.connect import register_node, settings_for
    from site_node.federate.executor import run_federate

    edition = load_edition(protocol)
    membership.check_covers(edition)
    Witness(home).check()
    with closing(Ledger(home.ledger)) as ledger:  # a command that was killed may have left it, and no pass comes by
        clear_library(home, ledger)
    with member_channel(member_of(membership)) as channel:
        address = register_node(channel, node_key=home.flower_key, protocol_digest=edition.digest)
    settings = settings_for(
        home,
        site_id=membership.site_id,
        coordinator_key=membership.coordinator_verify_key,
        protocol_digest=edition.digest,
        modes=membership.modes,
        agreement_expires_at=membership.terms.expires_at,
        fleet_address=address,
    )
    awaited = Awaited(lambda: member_channel(member_of(membership), prompt=True), stop)
    with awaited.listening():
        return run_federate(settings, awaited, stop=stop, once=once)
