"""How a program is set up and started: settings, homes, keys and what else runs."""

from shared.errors.base import ExitCode, RicordError, Text

_DONE_NOTHING = "Nothing was changed."


class SettingsError(RicordError):
    """A program cannot start as it is configured."""


class UnknownSetting(SettingsError):
    """A settings file names a key that does not exist."""

    text = Text(
        "{file}, line {line}: there is no setting `{key}`; {advice}.",
        ExitCode.USAGE,
        "INVALID_ARGUMENT",
    )


class InvalidSetting(SettingsError):
    """A settings file gives a key a value it cannot have, or lacks a required key."""

    text = Text("{file}, line {line}: setting `{key}` is not valid: {problem}.", ExitCode.USAGE, "INVALID_ARGUMENT")


class SettingsMissing(SettingsError):
    """There is no settings file at the expected place."""

    text = Text(
        "No settings file at {file}; run `{program} init` first or name the folder with --home.",
        ExitCode.USAGE,
        "FAILED_PRECONDITION",
    )


class PolicyMissing(SettingsError):
    """A site has no file that says which federated work may run."""

    text = Text(
        "There is no {file}, so no federated work is done here; put it back, or copy the one that "
        "`ricord-site init` writes into a new folder.",
        ExitCode.USAGE,
        "FAILED_PRECONDITION",
    )


class SettingsUnreadable(SettingsError):
    """The settings file is not TOML."""

    text = Text("{file}, line {line}: {problem}; mend the file.", ExitCode.USAGE, "INVALID_ARGUMENT")


class PortInUse(SettingsError):
    """A port that should be served is already in use."""

    text = Text(
        "Port {port} on {host} is already in use; stop the other program or set `{key}` to another port.",
        ExitCode.FAILED,
        "UNAVAILABLE",
    )


class HomeExists(SettingsError):
    """`init` was pointed at a folder that is already a home."""

    text = Text(
        "{folder} already holds a home. " + _DONE_NOTHING + " Choose another folder with --home.",
        ExitCode.USAGE,
        "ALREADY_EXISTS",
    )


class HomeNotEmpty(SettingsError):
    """A backup was to be restored where something is already."""

    text = Text(
        "{folder} is not empty, and a backup is restored into a new or empty folder only. " + _DONE_NOTHING,
        ExitCode.USAGE,
        "ALREADY_EXISTS",
    )


class HomeRestored(SettingsError):
    """A home was restored from a backup, and nobody has let it go on yet."""

    text = Text(
        "This home was restored from the backup of {made_at}, and waits for a person: copy back what no backup holds, "
        "then `ricord-site witness resume`.",
        ExitCode.FAILED,
        "FAILED_PRECONDITION",
    )


class HomeBusy(SettingsError):
    """Another process is working in the home."""

    text = Text(
        "Another command is working in {folder}; wait until it ends, or stop it, and start again.",
        ExitCode.FAILED,
        "UNAVAILABLE",
    )


class StoreNotShared(SettingsError):
    """A second coordinator was started on a database that serves a single process."""

    text = Text(
        "Another coordinator serves from the SQLite database of {folder}; stop it, or name a PostgreSQL "
        "`database`, which several may share.",
        ExitCode.FAILED,
        "UNAVAILABLE",
    )


class NodeRuns(SettingsError):
    """A node that is running does by itself what a command was asked for."""

    text = Text(
        "The node that is running here does this by itself, each {seconds} seconds for all that can go on; "
        "`ricord-site status` says what waits, and why.",
        ExitCode.FAILED,
        "UNAVAILABLE",
    )


class LedgerMissing(SettingsError):
    """The ledger of a home that has had one is not there."""

    text = Text(
        "The ledger of this home, {file}, is missing: move the home away and restore it from its backup. A new ledger "
        "would number patients a second time; nothing was changed.",
        ExitCode.FAILED,
        "DATA_LOSS",
    )


class LedgerTooNew(SettingsError):
    """The home's ledger was written by a newer release."""

    text = Text(
        "{file} was written by a newer release (ledger version {held}, here {known}); install that release, "
        "nothing was changed.",
        ExitCode.FAILED,
        "FAILED_PRECONDITION",
    )


class ExtraMissing(SettingsError):
    """A package that only an extra of the installation brings is not there."""

    text = Text(
        "{package} is not installed; run `pip install 'ricord-federation[{extra}]'`{otherwise}.",
        ExitCode.FAILED,
        "FAILED_PRECONDITION",
    )


class PixelCheckUnavailable(SettingsError):
    """The search for burned-in text is on, and the program that searches cannot start."""

    text = Text(
        "Burned-in text cannot be looked for: {package} does not start; run "
        "`pip install 'ricord-federation[site]'`, or set `pixel_check = false` "
        "and look yourself.",
        ExitCode.FAILED,
        "FAILED_PRECONDITION",
    )


class KeyFileMissing(SettingsError):
    """A key file that is needed does not exist."""

    text = Text(
        "There is no key file at {file}; restore it from its backup or create it.", ExitCode.FAILED, "NOT_FOUND"
    )


class KeyFileOpen(SettingsError):
    """A key file can be read by others."""

    text = Text(
        "The key file {file} can be read by others; run `chmod 600` on it.", ExitCode.FAILED, "FAILED_PRECONDITION"
    )


class KeyFileDenied(SettingsError):
    """A key file cannot be read by this account."""

    text = Text(
        "This account may not read the key file {file}; mend the owner and mode of the file and of the folders above "
        "it: nothing says that the key is damaged.",
        ExitCode.FAILED,
        "FAILED_PRECONDITION",
    )


class KeyFileInvalid(SettingsError):
    """A key file does not hold a key of the kind it should."""

    text = Text("{file} does not hold a {kind}; restore it from its backup.", ExitCode.FAILED, "FAILED_PRECONDITION")


class KeyFileLocked(SettingsError):
    """A key file is under a passphrase that is not at hand."""

    text = Text(
        "The key file {file} is encrypted, and {problem}; set `key_passphrase_file`, or give systemd's unit the "
        "credential ricord-key-passphrase.",
        ExitCode.FAILED,
        "FAILED_PRECONDITION",
    )


class KeyFileExists(SettingsError):
    """A key would overwrite another."""

    text = Text(
        "{file} already holds a key. " + _DONE_NOTHING + " Move it away first if you mean to replace it.",
        ExitCode.USAGE,
        "ALREADY_EXISTS",
    )


class ServiceNotRunning(SettingsError):
    """A service whose health is asked for does not run."""

    text = Text("No service runs in {folder}; `{program}` starts it.", ExitCode.UNREACHABLE, "UNAVAILABLE")


class ServiceStuck(SettingsError):
    """A service runs, and does not do what it should."""

    text = Text(
        "`{program}` runs, but {problem}; its log may say why, and after a new start it goes on where it stopped.",
        ExitCode.FAILED,
        "UNAVAILABLE",
    )
