"""The public table of errors: for each code its sentence, its exit code and the gRPC status it travels under."""

from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple


class ExitCode(IntEnum):
    """The exit codes of both programs; `--help` documents them."""

    DONE = 0
    FAILED = 1  # could not run
    USAGE = 2  # wrong arguments or settings, or nothing to work on
    PARTIAL = 3  # ran, and some studies or files were not accepted
    REFUSED = 4  # the other side refused: token, certificate, agreement, protocol
    UNREACHABLE = 5  # the other side did not answer; try again later


class Text(NamedTuple):
    """The public side of an error: its sentence, the process's exit code and the name of its gRPC status."""

    sentence: str
    exit_code: ExitCode
    status: str


BUSY_SECONDS = 10  # after which a busy coordinator is tried again
_DONE_NOTHING = "Nothing was changed."

TEXTS = MappingProxyType(
    {
        "unknown-setting": Text(
            "{file}, line {line}: there is no setting `{key}`; {advice}.",
            ExitCode.USAGE,
            "INVALID_ARGUMENT",
        ),
        "invalid-setting": Text(
            "{file}, line {line}: setting `{key}` is not valid: {problem}.", ExitCode.USAGE, "INVALID_ARGUMENT"
        ),
        "settings-missing": Text(
            "No settings file at {file}; run `{program} init` first or name the folder with --home.",
            ExitCode.USAGE,
            "FAILED_PRECONDITION",
        ),
        "policy-missing": Text(
            "There is no {file}, so no federated work is done here; put it back, or copy the one that "
            "`ricord-site init` writes into a new folder.",
            ExitCode.USAGE,
            "FAILED_PRECONDITION",
        ),
        "settings-unreadable": Text(
            "{file}, line {line}: {problem}; mend the file.", ExitCode.USAGE, "INVALID_ARGUMENT"
        ),
        "port-in-use": Text(
            "Port {port} on {host} is already in use; stop the other program or set `{key}` to another port.",
            ExitCode.FAILED,
            "UNAVAILABLE",
        ),
        "home-exists": Text(
            "{folder} already holds a home. " + _DONE_NOTHING + " Choose another folder with --home.",
            ExitCode.USAGE,
            "ALREADY_EXISTS",
        ),
        "home-busy": Text(
            "Another command is working in {folder}; wait until it ends, or stop it, and start again.",
            ExitCode.FAILED,
            "UNAVAILABLE",
        ),
        "store-not-shared": Text(
            "Another coordinator serves from the SQLite database of {folder}; stop it, or name a PostgreSQL "
            "`database`, which several may share.",
            ExitCode.FAILED,
            "UNAVAILABLE",
        ),
        "node-runs": Text(
            "The node that is running here does this by itself, each {seconds} seconds for all that can go on; "
            "`ricord-site status` says what waits, and why.",
            ExitCode.FAILED,
            "UNAVAILABLE",
        ),
        "ledger-too-new": Text(
            "{file} was written by a newer release (ledger version {held}, here {known}); install that release, "
            "nothing was changed.",
            ExitCode.FAILED,
            "FAILED_PRECONDITION",
        ),
        "extra-missing": Text(
            "{package} is not installed; run `pip install 'ricord-federation[{extra}]'`{otherwise}.",
            ExitCode.FAILED,
            "FAILED_PRECONDITION",
        ),
        "key-file-missing": Text(
            "There is no key file at {file}; restore it from its backup or create it.", ExitCode.FAILED, "NOT_FOUND"
        ),
        "key-file-open": Text(
            "The key file {file} can be read by others; run `chmod 600` on it.", ExitCode.FAILED, "FAILED_PRECONDITION"
        ),
        "key-file-invalid": Text(
            "{file} does not hold a {kind}; restore it from its backup.", ExitCode.FAILED, "FAILED_PRECONDITION"
        ),
        "key-file-locked": Text(
            "The key file {file} is encrypted, and {problem}; set `key_passphrase_file`, or give systemd's unit the "
            "credential ricord-key-passphrase.",
            ExitCode.FAILED,
            "FAILED_PRECONDITION",
        ),
        "key-file-exists": Text(
            "{file} already holds a key. " + _DONE_NOTHING + " Move it away first if you mean to replace it.",
            ExitCode.USAGE,
            "ALREADY_EXISTS",
        ),
        "source-missing": Text("{source} does not exist or cannot be read.", ExitCode.USAGE, "NOT_FOUND"),
        "no-dicom-found": Text(
            "{source} holds no DICOM file; name a folder that does. " + _DONE_NOTHING, ExitCode.USAGE, "NOT_FOUND"
        ),
        "invalid-identifier": Text("This is not a valid {kind}.", ExitCode.USAGE, "INVALID_ARGUMENT"),
        "invalid-argument": Text("{name} is not valid: {problem}.", ExitCode.USAGE, "INVALID_ARGUMENT"),
        "clinical-sheet-invalid": Text(
            "The clinical sheet cannot be used: {problem}. " + _DONE_NOTHING, ExitCode.USAGE, "INVALID_ARGUMENT"
        ),
        "accession-list-invalid": Text(
            "The list of accession numbers cannot be used: {problem}. " + _DONE_NOTHING,
            ExitCode.USAGE,
            "INVALID_ARGUMENT",
        ),
        "linkage-invalid": Text(
            "The linkage cannot be read: {problem}. " + _DONE_NOTHING, ExitCode.USAGE, "INVALID_ARGUMENT"
        ),
        "linkage-conflict": Text(
            "The linkage does not fit: {problem}. " + _DONE_NOTHING, ExitCode.USAGE, "FAILED_PRECONDITION"
        ),
        "not-in-quarantine": Text(
            "Study {study} does not wait for a person, it is {state}; `ricord-site review audit` shows what was "
            "decided, `ricord-site status` what waits.",
            ExitCode.USAGE,
            "FAILED_PRECONDITION",
        ),
        "submission-superseded": Text(
            "Submission {submission} was superseded: submission {by} of the same study came later and is open. "
            + _DONE_NOTHING,
            ExitCode.USAGE,
            "FAILED_PRECONDITION",
        ),
        "submission-transition-invalid": Text(
            "The submission is {state} and cannot become {wanted}; open it first with `curate open`, or look at its "
            "state with `submission show`. " + _DONE_NOTHING,
            ExitCode.USAGE,
            "FAILED_PRECONDITION",
        ),
        "submission-withdrawn": Text(
            "Study {study} was withdrawn, or an image of it; the side that withdrew it must allow it first (`withdraw "
            "--allow`). " + _DONE_NOTHING,
            ExitCode.REFUSED,
            "FAILED_PRECONDITION",
        ),
        "ambiguous-reference": Text(
            "{count} {kind} begin with what was given; give more of it.", ExitCode.USAGE, "INVALID_ARGUMENT"
        ),
        "not-found": Text("There is no {kind} {name}.", ExitCode.USAGE, "NOT_FOUND"),
        "store-outdated": Text(
            "The database has schema {held}, and this release has {newest}; `serve` moves an older one when it starts.",
            ExitCode.FAILED,
            "FAILED_PRECONDITION",
        ),
        "disk-full": Text(
            "There is no room left in {folder}; free some and start again, nothing was lost.",
            ExitCode.FAILED,
            "RESOURCE_EXHAUSTED",
        ),
        "access-denied": Text(
            "This account may not read or write a file that is needed ({problem}); mend its owner, its mode or its "
            "disk, and start again.",
            ExitCode.FAILED,
            "FAILED_PRECONDITION",
        ),
        "disk-nearly-full": Text(
            "Less than {least} MB are free in {folder} (`min_free_mb`); free some, and the node goes on by itself: "
            "nothing was lost.",
            ExitCode.FAILED,
            "RESOURCE_EXHAUSTED",
        ),
        "home-failed": Text(
            "{folder} cannot be read or written now ({problem}); look at the disk and at who may write there, and the "
            "node goes on by itself: nothing was lost.",
            ExitCode.FAILED,
            "UNAVAILABLE",
        ),
        "dicom-unreadable": Text("This file is no readable DICOM: {problem}.", ExitCode.PARTIAL, "INVALID_ARGUMENT"),
        "dicom-unsupported": Text(
            "This DICOM file cannot be processed safely: {problem}.", ExitCode.PARTIAL, "INVALID_ARGUMENT"
        ),
        "pixels-unreadable": Text(
            "A frame of the study cannot be decoded; look at it with another viewer.",
            ExitCode.PARTIAL,
            "INVALID_ARGUMENT",
        ),
        "pixel-check-failed": Text(
            "The search for burned-in text ended without an answer; look at the study, or try again.",
            ExitCode.PARTIAL,
            "INTERNAL",
        ),
        "pixel-check-unavailable": Text(
            "Burned-in text cannot be looked for: {package} does not start; run "
            "`pip install 'ricord-federation[site]'`, or set `pixel_check = false` "
            "and look yourself.",
            ExitCode.FAILED,
            "FAILED_PRECONDITION",
        ),
        "protocol-invalid": Text(
            "The protocol file {file} cannot be used: {problem}.", ExitCode.FAILED, "FAILED_PRECONDITION"
        ),
        "protocol-mismatch": Text(
            "This node holds protocol {held}, the coordinator {wanted}; install the release that carries {wanted}.",
            ExitCode.REFUSED,
            "FAILED_PRECONDITION",
        ),
        "edition-over": Text(
            "Edition {edition} of the protocol is accepted {until}; upgrade.", ExitCode.REFUSED, "FAILED_PRECONDITION"
        ),
        "edition-not-covered": Text(
            "The agreement does not cover edition {edition} of protocol {protocol}, so studies wait: see `ricord-site "
            "explain --changes`, and ask for an amendment (`ricord-coordinator agreement amend --editions`).",
            ExitCode.REFUSED,
            "FAILED_PRECONDITION",
        ),
        "token-invalid": Text(
            "This token is not valid; copy it whole, or ask the coordinator for a new one.",
            ExitCode.REFUSED,
            "UNAUTHENTICATED",
        ),
        "token-of-other-kind": Text(
            "This is the {given} token, and here the {wanted} token is needed: the coordinator prints it with "
            "`ricord-coordinator {printed_by}`.",
            ExitCode.REFUSED,
            "UNAUTHENTICATED",
        ),
        "token-expired": Text(
            "This token has expired; ask the coordinator for a new one.", ExitCode.REFUSED, "UNAUTHENTICATED"
        ),
        "token-used": Text(
            "This token was already used; ask the coordinator for a new one.", ExitCode.REFUSED, "UNAUTHENTICATED"
        ),
        "certificate-expired": Text(
            "The certificate of {peer} has expired; enrol again with a new token.", ExitCode.REFUSED, "UNAUTHENTICATED"
        ),
        "clock-wrong": Text(
            "The clock of this machine says {says}, but {evidence}. Set it, by NTP best; where it is right, tell the "
            "coordinator. No certificate is at fault, and nobody has to enrol again.",
            ExitCode.FAILED,
            "FAILED_PRECONDITION",
        ),
        "certificate-foreign": Text(
            "The certificate of {peer} is not one of this federation, or was revoked; enrol again with a new token.",
            ExitCode.REFUSED,
            "UNAUTHENTICATED",
        ),
        "role-not-allowed": Text("The role {role} may not do this.", ExitCode.REFUSED, "PERMISSION_DENIED"),
        "signature-invalid": Text(
            "The signature on {what} is not valid; nothing was accepted.", ExitCode.REFUSED, "PERMISSION_DENIED"
        ),
        "receipt-invalid": Text(
            "The coordinator's receipt does not count: {problem}; the study stays here, sealed, and is tried again. "
            "Tell the coordinator.",
            ExitCode.REFUSED,
            "DATA_LOSS",
        ),
        "not-enrolled": Text(
            "{folder} is not enrolled yet; ask the coordinator for a token and run `enrol --token`.",
            ExitCode.USAGE,
            "FAILED_PRECONDITION",
        ),
        "agreement-not-executed": Text(
            "The agreement is {state}, not executed; nothing is accepted outside an agreement in force. Next: {next}.",
            ExitCode.REFUSED,
            "FAILED_PRECONDITION",
        ),
        "agreement-not-begun": Text(
            "The agreement begins on {moment}; nothing is accepted before.",
            ExitCode.REFUSED,
            "FAILED_PRECONDITION",
        ),
        "agreement-superseded": Text(
            "A later version of the agreement is in force; a running node fetches it, as does `ricord-site agreement "
            "status`.",
            ExitCode.REFUSED,
            "FAILED_PRECONDITION",
        ),
        "agreement-mode-not-allowed": Text(
            "The agreement does not cover `{mode}`; ask the coordinator for an amendment.",
            ExitCode.REFUSED,
            "PERMISSION_DENIED",
        ),
        "study-quota-reached": Text(
            "The agreement covers {studies} studies, and as many were received; further ones wait, ask the coordinator "
            "for an amendment.",
            ExitCode.REFUSED,
            "FAILED_PRECONDITION",
        ),
        "agreement-text-changed": Text(
            "The agreement's text is not the one that was shown; read it again before signing.",
            ExitCode.REFUSED,
            "FAILED_PRECONDITION",
        ),
        "agreement-transition-invalid": Text(
            "An agreement that is {state} cannot become {wanted}. Next: {next}.",
            ExitCode.REFUSED,
            "FAILED_PRECONDITION",
        ),
        "sealed-file-invalid": Text(
            "The sealed study cannot be opened: {problem}; nothing was written.", ExitCode.REFUSED, "DATA_LOSS"
        ),
        "manifest-invalid": Text(
            "The manifest does not fit its study: {problem}; nothing was accepted.",
            ExitCode.REFUSED,
            "INVALID_ARGUMENT",
        ),
        "coordinator-unreachable": Text(
            "No coordinator answers at {address}; check the address and the network, then try again. Nothing was lost.",
            ExitCode.UNREACHABLE,
            "UNAVAILABLE",
        ),
        "coordinator-busy": Text(
            "The coordinator is busy; try again in {seconds} seconds. Nothing was lost.",
            ExitCode.UNREACHABLE,
            "RESOURCE_EXHAUSTED",
        ),
        "upload-interrupted": Text(
            "The transfer was interrupted; what arrived is kept, and the next try resumes it.",
            ExitCode.UNREACHABLE,
            "ABORTED",
        ),
        "pacs-unreachable": Text(
            "No PACS answers at {address}; check address and TLS in site.toml and the network, then try again.",
            ExitCode.UNREACHABLE,
            "UNAVAILABLE",
        ),
        "pacs-refused": Text(
            "The PACS at {address} refuses the association from {calling} to {called}; have it allow our AE title, or "
            "mend `ae_title` and `calling` in `[pacs]` or `[send]`.",
            ExitCode.REFUSED,
            "PERMISSION_DENIED",
        ),
        "dicomweb-refused": Text(
            "The PACS at {address} does not let us in (HTTP {status}); mend the password, token or certificate in "
            "`[dicomweb]`, or have its administrators allow this account.",
            ExitCode.REFUSED,
            "PERMISSION_DENIED",
        ),
        "pacs-failed": Text(
            "The PACS did not carry out the {operation}: {problem}; try again, or ask its administrators.",
            ExitCode.UNREACHABLE,
            "ABORTED",
        ),
        "store-unreachable": Text(
            "The coordinator's {kind} does not answer; check `{setting}` in coordinator.toml and try again.",
            ExitCode.UNREACHABLE,
            "UNAVAILABLE",
        ),
        "run-refused": Text("The site's policy refuses this run: {problem}.", ExitCode.REFUSED, "FAILED_PRECONDITION"),
        "too-few-sites": Text(
            "{present} sites take part, the minimum is {minimum}; nothing was computed.",
            ExitCode.REFUSED,
            "FAILED_PRECONDITION",
        ),
        "plan-invalid": Text("The run's plan cannot hold: {problem}.", ExitCode.USAGE, "INVALID_ARGUMENT"),
        "run-failed": Text("The federated run ended without a result: {problem}.", ExitCode.FAILED, "ABORTED"),
        "run-goes-on": Text(
            "Run {run} is {state} after {minutes} minutes and goes on; `ricord-coordinator run show {run}` says how "
            "far it is, `ricord-coordinator cohort show {run}` shows its table.",
            ExitCode.UNREACHABLE,
            "DEADLINE_EXCEEDED",
        ),
        "secure-sum-refused": Text(
            "The secure sum stops: {problem}; no site's numbers were shown.", ExitCode.REFUSED, "FAILED_PRECONDITION"
        ),
        "audit-broken": Text(
            "Entry {number} of the audit log is missing or was changed: it does not fit the entry before, a receipt or "
            "the last signed head; compare the log with a backup, and ask the sites what they witnessed.",
            ExitCode.FAILED,
            "DATA_LOSS",
        ),
        "audit-contradicted": Text(
            "The coordinator's audit log contradicts what the coordinator signed before: {problem}; nothing is sent. "
            "Ask the coordinator; once a person knows why, `ricord-site witness resume` lets sending go on.",
            ExitCode.REFUSED,
            "FAILED_PRECONDITION",
        ),
        "internal-error": Text(
            "This program met a defect of its own; `--debug` shows where, and nothing half-done was kept.",
            ExitCode.FAILED,
            "INTERNAL",
        ),
    }
)
