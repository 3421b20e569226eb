"""`withdraw`: take back what was submitted, and send it no more."""

import sys
from contextlib import nullcontext, suppress
from typing import Annotated, NamedTuple

import typer

from shared.counts import counted
from shared.durable import move
from shared.errors.base import RicordError
from shared.errors.inputs import InvalidArgument, NotFound
from shared.errors.transport import TransportError
from shared.errors.trust import NotEnrolled
from shared.ids import PatientPseudonym, StudyKey, Uid
from shared.terminal import print_json, print_line
from site_node.commands.options import Json, Person, node_of
from site_node.home.clearing import clear_library
from site_node.home.ledger import Ledger, State, StudyEntry
from site_node.home.references import study_named
from site_node.home.withdrawals import Level
from site_node.home.words import NO_STUDY
from site_node.membership.record import Membership
from site_node.node.open import Node
from site_node.reasons import reason_for
from site_node.submit.states import fetch_states
from site_node.submit.withdrawals import allow_resubmission, withdraw_pending


class Target(NamedTuple):
    """What is meant: names of one level, and the study of images."""

    level: Level
    names: tuple[str, ...]
    key: StudyKey = NO_STUDY  # for the audit
    study: str = ""


def withdraw(
    context: typer.Context,
    study: Annotated[str, typer.Argument(help="A study's key or new UID, or a beginning.")] = "",
    *,
    patient: Annotated[str, typer.Option(help="Every study of a patient, by the pseudonym.")] = "",
    site: Annotated[bool, typer.Option("--site", help="Everything that this site has submitted.")] = False,
    instance: Annotated[list[str] | None, typer.Option(help="Only this image, by its new UID; again for more.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="With --site: withdraw without asking again.")] = False,
    allow: Annotated[bool, typer.Option("--allow", help="Let what was withdrawn here be submitted again.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept in the home's audit and does not leave.")],
    person: Person = "",
    as_json: Json = False,
) -> None:
    """Withdraw a study, a patient, single images or everything: centre and curator delete it, and none is sent again.

    It leaves the library, too, so that no federated question is answered with it any more.

    What leaves the hospital: ids of submissions, and new UIDs of the images.

    The coordinator's receipts of deletion are kept in `deletions/`. What a kill or a coordinator that is away leaves
    undone, the node does. After `--allow`, receive the images again to send them.

    Example: `ricord-site withdraw 1f3a --as "A. Miller" --reason "consent withdrawn"`
    """
    with node_of(context, writing=False) as node:
        if node.membership is None:
            raise NotEnrolled(folder=str(node.home.folder))
        target = _target(node.ledger, study, patient, site=site, instances=tuple(instance or ()))
        if site and not (yes or allow):
            _ask_for_everything()
        with nullcontext() if allow else suppress(RicordError):  # a withdrawal stands, though the centre is away
            fetch_states(node.home, node.ledger, node.membership)
        if target.level is Level.PATIENT:
            _check_patient(node.ledger, node.membership, target.names[0])
        if allow:
            allowed = _allow(node, node.membership, target, person, reason)
            shown, said = {"allowed": allowed}, f"{counted(len(allowed), 'submission')} may come again."
        else:
            with node.home.changing(), node.ledger.changing():
                event = node.ledger.audit(person, "withdraw", target.key, f"{target.level}: {reason}")
                node.ledger.withdrawals.enter(target.level, target.names, event, study=target.study)
            clear_library(node.home, node.ledger)
            try:
                receipts = withdraw_pending(node.home, node.ledger, node.membership)
            except TransportError:
                if not as_json:
                    print_line(
                        "The withdrawal is recorded here; the node says it to the coordinator when that answers."
                    )
                raise
            shown = {"deleted": [receipt.submission for receipt in receipts]}
            said = f"{counted(len(receipts), 'submission')} withdrawn; the receipts of deletion are in `deletions/`."
    if as_json:
        print_json(shown)
    else:
        print_line(said)


def _target(ledger: Ledger, study: str, patient: str, *, site: bool, instances: tuple[str, ...]) -> Target:
    if sum((bool(study), bool(patient), site)) != 1 or (instances and not study):
        raise InvalidArgument(
            name="What to withdraw", problem="name a study, with or without images, a patient or the site"
        )
    if site:
        return Target(Level.SITE, ("",))
    if patient:
        return Target(Level.PATIENT, (PatientPseudonym(patient),))
    entry = _study(ledger, study)
    uid = entry.study or ""
    if not instances:
        return Target(Level.STUDY, (uid,), entry.key)
    if entry.state is not State.SUBMITTED:
        raise InvalidArgument(name="--instance", problem="the study is not submitted; leave the image out before it is")
    return Target(Level.INSTANCE, tuple(Uid(each) for each in instances), entry.key, uid)


def _ask_for_everything() -> None:
    """Raise `InvalidArgument` unless a person at the terminal means the whole site."""
    if not sys.stdin.isatty():
        problem = "it is needed with --site where there is no terminal to ask at; nothing is withdrawn"
        raise InvalidArgument(name="--yes", problem=problem)
    if not typer.confirm("Withdraw everything that this site has submitted?"):
        raise InvalidArgument(name="--site", problem="nothing was withdrawn")


def _study(ledger: Ledger, reference: str) -> StudyEntry:
    return study_named(
        [entry for entry in ledger.studies() if entry.study],
        reference,
        kind="de-identified study",
        shown="its new UID as `ricord-site submission list` shows it",
        names=lambda entry: (entry.key, entry.study or ""),
    )


def _check_patient(ledger: Ledger, membership: Membership, pseudonym: str) -> None:
    """Raise `NotFound` for a pseudonym that this site gave to nobody and under which the centre has nothing of it."""
    site_id, _, number = pseudonym.partition("-")
    given = site_id == membership.site_id and ledger.patients.with_number(int(number)) is not None
    if not given and all(each.patient != pseudonym for each in ledger.submissions.all()):
        raise NotFound(kind="patient with the pseudonym", name=pseudonym)


def _allow(node: Node, membership: Membership, target: Target, person: str, reason: str) -> list[str]:
    """Allow it at the coordinator first, then here: repeated after a kill, it ends the same."""
    if target.level is Level.INSTANCE:
        raise InvalidArgument(name="--allow", problem="a withdrawn image stays so; its study may come without it")
    ledger, home = node.ledger, node.home
    allowed = set(ledger.withdrawals.covered_only_by(target.level, target.names[0]))
    allow_resubmission(membership, sorted(allowed))
    with home.changing(), ledger.changing():
        ledger.audit(person, "withdraw-allow", target.key, f"{target.level}: {reason}")
        ledger.withdrawals.lift(target.level, target.names[0])
        studies = {each.study for each in ledger.submissions.all() if each.submission in allowed}
        for entry in ledger.studies(State.SUBMITTED):
            if entry.study in studies:
                ledger.withdrawals.forget_images(entry.key)
                ledger.advance(entry.key, State.EXCLUDED, reasons=(reason_for("withdrawn"),))
                if entry.receipt and (receipt := home.receipts / entry.receipt).exists():
                    home.deletions.mkdir(exist_ok=True, mode=0o700)
                    move(receipt, home.deletions / entry.receipt)
        for entry in ledger.studies(State.VALIDATED) if node.settings.library else ():  # where nothing is submitted
            if not (home.library / (entry.study or "")).exists():
                ledger.advance(entry.key, State.EXCLUDED, reasons=(reason_for("withdrawn"),))
        for entry in ledger.studies(State.EXCLUDED):  # those that were withdrawn before they were sent
            if any(each.code == "withdrawn" for each in entry.reasons):
                ledger.withdrawals.forget_images(entry.key)
    return sorted(allowed)
