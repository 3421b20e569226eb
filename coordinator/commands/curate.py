"""`curate`: the curator's program, which runs on another host than the coordinator and opens what it stores."""

from pathlib import Path
from typing import Annotated, Any

import typer

from coordinator.commands.curate_backup import backup, restore
from coordinator.commands.curate_reading import reader, reading
from coordinator.commands.curate_review import deciding, review
from coordinator.commands.home_folder import folder_of
from coordinator.commands.output import AsJson, show_all, show_fields
from coordinator.curation.deciding import checked_reasons
from coordinator.curation.keys import lock_curator_keys
from coordinator.curation.membership import CuratorHome, enrol_again, join, member_of, rotate
from coordinator.curation.opening import OpenedStudy, list_opened
from coordinator.curation.passes import Pass, run_pass
from coordinator.home.signals import stop_signals
from coordinator.operator.answers import every_page
from shared.agreement import short_digest
from shared.counts import counted
from shared.crypto.keys import required
from shared.errors.base import ExitCode
from shared.errors.inputs import InvalidArgument
from shared.errors.transport import TransportError
from shared.member import member_channel
from shared.monitoring.supervision import notify
from shared.proto.ricord.v1.agreement_pb2 import ListSealedAgreementsRequest
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from shared.submission_state import SubmissionState
from shared.terminal import make_app, print_json, print_line, report

curate = make_app("The curator: opens sealed studies with a key that never leaves this home.")
curate.add_typer(review, name="review")
curate.add_typer(reader, name="reader")
curate.add_typer(reading, name="reading")
curate.command()(backup)
curate.command()(restore)


@curate.command()
def init(
    context: typer.Context,
    token: Annotated[str, typer.Option(help="The join token from the coordinators.")],
    protocol: Annotated[str, typer.Option(help="The protocol every study must have been prepared under.")] = "ricord",
    key_passphrase_file: Annotated[
        Path | None, typer.Option(help="The file with the passphrase under which the keys are kept.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make this curator's keys and enrol: the coordinator learns their public halves, which sites then sign for."""
    home = CuratorHome(folder_of(context))
    passphrase_file = key_passphrase_file.resolve() if key_passphrase_file else None
    membership = join(home, token, protocol=protocol, passphrase_file=passphrase_file)
    keys = home.load_keys()
    shown = {
        "name": membership.name,
        "federation": membership.federation,
        "recipient": keys.identity.recipient,
        "fingerprint": keys.signing.fingerprint,
    }
    if as_json:
        print_json(shown)
    else:
        print_line(f"Curator {membership.name} of {membership.federation}; signing key {keys.signing.fingerprint}.")
        print_line(f"Sites compare that key and your recipient by telephone: {short_digest(keys.identity.recipient)}.")
        print_line("Back up the folder `keys`: without it no study sealed to this curator can ever be opened.")


@curate.command()
def enrol(
    context: typer.Context,
    token: Annotated[str, typer.Option(help="A new join token for this curator.")],
    as_json: AsJson = False,
) -> None:
    """Enrol again with the keys of this home: after a certificate expired or was revoked."""
    membership = enrol_again(CuratorHome(folder_of(context)), token)
    if as_json:
        print_json({"name": membership.name, "federation": membership.federation})
    else:
        print_line(f"Curator {membership.name} of {membership.federation} has a new certificate.")


@curate.command("rotate")
def rotate_keys(context: typer.Context, as_json: AsJson = False) -> None:
    """Change this curator's keys: new agreements and amendments name the new ones, the old ones open old studies.

    The new keys are signed by the old signing key. Sites seal to the new recipient once they have signed an amendment.
    """
    keys = rotate(CuratorHome(folder_of(context)))
    shown = {"recipient": keys.identity.recipient, "fingerprint": keys.signing.fingerprint}
    if as_json:
        print_json({**shown, "former": [pair.signing.fingerprint for pair in keys.former]})
    else:
        recipient = short_digest(keys.identity.recipient)
        print_line(f"The signing key is {keys.signing.fingerprint} now, and the recipient {recipient}.")
        print_line("Back up the folder `keys` again. Next: the coordinators amend each agreement that names you.")


@curate.command("encrypt-keys")
def encrypt_keys(context: typer.Context, as_json: AsJson = False) -> None:
    """Put this curator's keys under the passphrase of `key_passphrase_file` in curator.toml, or of systemd."""
    home = CuratorHome(folder_of(context))
    count = lock_curator_keys(home.keys, required(home.passphrase()))
    if as_json:
        print_json({"encrypted": count})
    else:
        print_line(
            f"{counted(count, 'key file', 'is')} encrypted. Keep the passphrase apart from the backup of `keys`."
        )


@curate.command("open")
def open_studies(
    context: typer.Context,
    submission_ids: Annotated[list[str] | None, typer.Argument(help="Ids of submissions, or beginnings.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are not open yet.")] = False,
    every: Annotated[float, typer.Option(help="With --all: look again after so many seconds, until SIGTERM.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Fetch sealed studies, check signatures, hashes, agreement and protocol, and open them into `opened/`."""
    if bool(submission_ids) == everything or (every and not everything):
        raise InvalidArgument(name="What to open", problem="name submissions, or say --all")
    home = CuratorHome(folder_of(context))
    if every:
        _keep_opening(home, every, as_json=as_json)
        return
    completed = run_pass(home, submission_ids or None)
    _show_pass(completed, as_json=as_json)
    if not (as_json or completed.opened or completed.failures):
        is_open = counted(len(completed.open_before), "study", "is")
        print_line(f"Nothing new to open; {is_open} open in {home.opened}.")
    if not completed.whole:
        raise typer.Exit(ExitCode.PARTIAL)


@curate.command()
def reject(
    context: typer.Context,
    submission_ids: Annotated[list[str], typer.Argument(help="Ids of submissions, or beginnings.")],
    reason: Annotated[list[str], typer.Option(help="Why, in words that the site reads; may be given again.")],
    as_json: AsJson = False,
) -> None:
    """Reject studies that could not be opened; `review reject` is for those that are open.

    The reasons travel to the site; at most five of 100 characters.
    """
    home = CuratorHome(folder_of(context))
    reasons = checked_reasons(reason)
    with deciding(home) as decider:
        rejected = [decider.decide(each, SubmissionState.REJECTED, reasons) for each in submission_ids]
    if as_json:
        print_json({"rejected": rejected})
    else:
        for submission in rejected:
            print_line(f"rejected {submission}")


@curate.command("list")
def list_studies(context: typer.Context, as_json: AsJson = False) -> None:
    """Every study that is open here, and the submissions that a later one of the same study superseded."""
    home = CuratorHome(folder_of(context))
    home.settings()
    studies = [_study(study) for study in list_opened(home.opened)]
    if as_json:
        print_json(studies)
    else:
        columns = ("site_id", "study", "instance_count", "modalities", "folder")
        show_fields("Opened studies", studies, columns)
        for study in studies:
            for earlier in study["superseded"]:
                print_line(f"Submission {earlier} of study {study['study']} was superseded by {study['submission']}.")


@curate.command("agreements")
def list_agreements(context: typer.Context, as_json: AsJson = False) -> None:
    """The agreements under which sites seal to this curator: their state, scope and licence."""
    home = CuratorHome(folder_of(context))
    with member_channel(member_of(home, home.load_keys())) as channel:
        answer = every_page(AgreementServiceStub(channel).ListSealedAgreements, ListSealedAgreementsRequest())
    columns = ("site_id", "state", "version", "modalities", "scope", "licence", "expires_at")
    show_all("Agreements", answer.agreements, columns, as_json=as_json)


def _keep_opening(home: CuratorHome, every: float, *, as_json: bool) -> None:
    """Pass after pass over what came since; neither an unreachable coordinator nor a bad study ends it."""
    last = 0
    with stop_signals() as stop:
        notify("READY=1")
        while not stop.is_set():
            try:
                completed = run_pass(home, None, after=last)
                last = completed.last
                _show_pass(completed, as_json=as_json)
            except TransportError as error:
                report(error, as_json=as_json)
            stop.wait(every)


def _show_pass(completed: Pass, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "opened": [_study(study) for study in completed.opened],
                "already_open": [_study(study) for study in completed.open_before],
                "failed": [
                    {"submission": submission, "code": error.code, "message": error.public}
                    for submission, error in completed.failures.items()
                ],
                "purged": completed.purged,
            }
        )
        return
    for purged in completed.purged:
        print_line(f"purged what was withdrawn of {purged}")
    for study in completed.opened:
        in_place_of = f", in place of submission {study.arrival.superseded[-1]}" if study.arrival.superseded else ""
        print_line(f"opened {study.folder}{in_place_of}")
    for submission, error in completed.failures.items():
        print_line(f"not opened {submission}: {error.public}")


def _study(opened: OpenedStudy) -> dict[str, Any]:
    manifest = opened.signed.manifest
    return {
        "site_id": manifest.site_id,
        "study": manifest.study,
        "patient": manifest.patient,
        "instance_count": manifest.instance_count,
        "modalities": list(manifest.modalities),
        "sequence": manifest.sequence,
        "submission": opened.submission,
        "superseded": list(opened.arrival.superseded),
        "withdrawn": list(opened.arrival.withdrawn),
        "folder": str(opened.folder),
    }
