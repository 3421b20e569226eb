"""`ca`: the keys that sign certificates. These commands work in the home, not through a running coordinator."""

from pathlib import Path
from typing import Annotated

import typer

from coordinator.commands.output import AsJson, home_of
from coordinator.home.authority import (
    concerns,
    export_root,
    issue_intermediate,
    load_authority,
    lock_signing_keys,
    passphrase_of,
)
from coordinator.home.identity import utc_now
from shared.counts import counted
from shared.crypto.keys import required
from shared.crypto.pki import expires_at, fingerprint_of
from shared.terminal import make_app, print_json, print_line

ca = make_app("The federation's certificate authority: its root, and the intermediate that signs members.")


@ca.command()
def show(context: typer.Context, as_json: AsJson = False) -> None:
    """Who signs, until when, and what somebody should do about the keys."""
    home = home_of(context)
    authority = load_authority(home, passphrase_of(home.settings()))
    root, ends = fingerprint_of(authority.root_pem), expires_at(authority.certificate_pem)
    certificate = fingerprint_of(authority.certificate_pem)
    signs, sentences = "intermediate" if authority.chain_pem else "root", concerns(home, utc_now())
    if as_json:
        print_json(
            {"root": root, "signs": signs, "certificate": certificate, "ends": ends.isoformat(), "concerns": sentences}
        )
        return
    print_line(f"The root's SHA-256 is {root}.")
    print_line(f"The {signs} signs members, until {ends:%Y-%m-%d}; its SHA-256 is {certificate}.")
    for sentence in sentences:
        print_line(sentence)


@ca.command("export-root")
def move_root(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="An offline place, such as a stick that is kept in a safe.")],
) -> None:
    """Move the root's key out of this home; the service runs without it, and only `ca issue` needs it again."""
    home = home_of(context)
    target = export_root(home, folder.resolve(), passphrase_of(home.settings()))
    print_line(f"The root's key is in {target} and no longer here. Keep a second copy, and the passphrase elsewhere.")


@ca.command()
def issue(
    context: typer.Context,
    root_key: Annotated[Path | None, typer.Option(help="The root's key, where it is not in this home.")] = None,
) -> None:
    """Make another intermediate; members notice nothing. Then restart `serve`."""
    home = home_of(context)
    authority = issue_intermediate(home, passphrase_of(home.settings()), root_key=root_key)
    print_line(f"A new intermediate signs until {expires_at(authority.certificate_pem):%Y-%m-%d}; restart `serve`.")


@ca.command()
def encrypt(context: typer.Context) -> None:
    """Put the keys that sign under the passphrase of `key_passphrase_file` in coordinator.toml, or of systemd."""
    home = home_of(context)
    count = lock_signing_keys(home, required(passphrase_of(home.settings())))
    print_line(
        f"{counted(count, 'key file', 'is')} encrypted. Keep the passphrase apart from the backup of `ca` and `keys`."
    )
