"""The pseudonym secret that a home's ledger was begun with."""

from pathlib import Path

from shared.errors.settings import KeyFileInvalid
from site_node.home.ledger import Ledger
from site_node.pseudonyms.names import KeyedNames


def check_secret(secret: bytes, ledger: Ledger, file: Path) -> None:
    """Raise `KeyFileInvalid` naming `file` unless the ledger was begun with `secret`.

    Another secret would silently give every known patient a new pseudonym.
    """
    if not ledger.matches_secret(KeyedNames(secret).study_key("secret")):
        raise KeyFileInvalid(file=str(file), kind="pseudonym secret that this ledger was begun with")
