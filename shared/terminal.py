"""What both commands do at a terminal: run an app, print JSON, and turn every failure into one sentence.

No traceback reaches a user. `--debug`, accepted anywhere in the command line, shows where a failure arose: files,
lines, functions and exception classes, and never an exception's text or a variable, since either may hold a patient's
value. For the same reason the warnings of libraries, which quote what they read, are not printed.
"""

import ast
import json
import os
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import click
import typer
from click.shell_completion import CompletionItem
from typer.core import TyperGroup

from shared.durable import damage_of, denial_of, is_full_disk
from shared.errors.base import ExitCode, InternalError, RicordError
from shared.errors.storage import AccessDenied, DatabaseDamaged, DiskFull
from shared.extras import DISTRIBUTION, extra_missing

if TYPE_CHECKING:
    from shared.examination import Examined

EXIT_TEXTS = MappingProxyType(
    {
        ExitCode.DONE: "done",
        ExitCode.FAILED: "could not run",
        ExitCode.USAGE: "wrong arguments or settings, or nothing to work on",
        ExitCode.PARTIAL: "ran, and some studies or files were not taken",
        ExitCode.REFUSED: "the other side refused (token, certificate, agreement, protocol)",
        ExitCode.UNREACHABLE: "the other side was not there; try again later",
    }
)

EXIT_CODES = "Exit codes: " + "; ".join(f"{int(code)} {text}" for code, text in EXIT_TEXTS.items()) + "."

INTERRUPTED = 130  # what shells expect after Ctrl-C


class Verbs(TyperGroup):
    """A group of verbs that answers a mistyped verb with the one verb that is nearest to it."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that the arguments name; raises `UsageError` where there is none."""
        try:
            return click.Group.resolve_command(self, ctx, args)
        except click.UsageError as error:
            nearest = get_close_matches(args[0], self.list_commands(ctx), n=1)
            suggestion = "".join(f" (did you mean `{verb}`?)" for verb in nearest)
            raise click.UsageError(f"There is no command `{args[0]}`{suggestion}", error.ctx) from None


class VerbsOnDemand(Verbs):
    """A group that imports a verb when it is called, so that no verb waits for what only another needs.

    A verb is a module of `package`, and in it a function or a group of verbs, both of the same name. The list in the
    help, and a shell's completion, read the modules' source and import none.
    """

    package: str = ""
    verbs: Sequence[str] = ()

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of help."""
        del ctx
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb; `None` where there is no such verb."""
        del ctx
        if cmd_name not in self.verbs:
            return None
        target = getattr(import_module(f"{self.package}.{cmd_name}"), cmd_name)
        if not isinstance(target, typer.Typer):
            alone = typer.Typer(add_completion=False, rich_markup_mode="markdown")
            alone.command(cmd_name)(target)
            target = alone
        command = typer.main.get_command(target)
        command.name = cmd_name
        return command

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help with the verbs as `described` has them."""
        self.described().format_help(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The verbs and options that begin so."""
        return self.described().shell_complete(ctx, incomplete)

    def described(self) -> TyperGroup:
        """This group with verbs that hold nothing but their help."""
        commands = {verb: click.Command(verb, help=_help_of(self.package, verb)) for verb in self.verbs}
        return TyperGroup(
            name=self.name,
            commands=commands,
            params=self.params,
            help=self.help,
            epilog=self.epilog,
            rich_markup_mode=self.rich_markup_mode,
        )


def _help_of(package: str, verb: str) -> str:
    """The help of a verb as its module's source has it: the docstring of its function or the text of its app."""
    spec = find_spec(f"{package}.{verb}")
    source = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
    for node in ast.parse(source).body:
        match node:
            case ast.FunctionDef(name=name) if name == verb:
                return ast.get_docstring(node) or ""
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(args=[ast.Constant(value=text), *_])):
                if name == verb:
                    return str(text)
    return ""


def make_app(explanation: str, *, package: str = "", verbs: Sequence[str] = ()) -> typer.Typer:
    """An app, or a group of verbs in one, that shows its help when called with nothing.

    `verbs` of `package` are imported on demand; the verbs of a group are registered on its app.
    """
    return typer.Typer(
        cls=type("Program", (VerbsOnDemand,), {"package": package, "verbs": verbs}) if verbs else Verbs,
        help=explanation,
        epilog=f"{EXIT_CODES} Add --debug to any command to see where a failure arose.",
        no_args_is_help=True,
        add_completion=bool(verbs),
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def run_app(app: typer.Typer, program: str, extras: Sequence[str] = ()) -> NoReturn:
    """Run `app` with the process's arguments and end the process with the exit code that fits.

    A `RicordError` is shown as its public sentence; a full disk as `DiskFull`'s, a file that
    this account may not read or write as `AccessDenied`'s, a package that only one of the
    program's `extras` installs as `ExtraMissing`'s, anything else, which is a defect of ours, as `InternalError`'s.
    With `--json` among the arguments the error is one JSON object instead. Both go to standard error.
    """
    arguments, debug = _without_debug(sys.argv[1:])
    as_json = "--json" in arguments
    be_quiet()
    try:
        code = typer.main.get_command(app).main(arguments, prog_name=program, standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        _write({"code": "usage", "message": _usage_sentence(error)}, as_json=as_json)
        sys.exit(ExitCode.USAGE)
    except click.Abort:
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (`| head`) went away; Python would complain again while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.DONE)
    except Exception as error:  # noqa: BLE001 -- the one place where a defect is turned into a sentence
        missing = extra_missing(error, extras) if isinstance(error, ModuleNotFoundError) else None
        sys.exit(report(missing or error, as_json=as_json, debug=debug))
    if code == INTERRUPTED:  # typer turns Ctrl-C into this code and prints nothing
        _write({"code": "interrupted", "message": "Stopped; start again to go on where it ended."}, as_json=as_json)
    sys.exit(code if isinstance(code, int) else ExitCode.DONE)


def print_version(wanted: bool) -> None:
    """Print the release and end; typer calls it for `--version`."""
    if wanted:
        print_line(version(DISTRIBUTION))
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=print_version, is_eager=True, help="Show the release and exit.")
]


def report(error: BaseException, *, as_json: bool = False, debug: bool = False) -> ExitCode:
    """Print `error` as one sentence on standard error and return the exit code it asks for."""
    public = _public(error)
    if debug:
        sys.stderr.write("\n".join(trace_lines(error)) + "\n")
    shown = {"code": public.code, "message": public.public, "fields": public.fields}
    _write(shown | ({"request": public.request} if public.request else {}), as_json=as_json)
    return public.exit_code


def _public(error: BaseException) -> RicordError:
    if isinstance(error, RicordError):
        return error
    if is_full_disk(error):
        return DiskFull(folder="a folder that it writes to")
    if damage := next(filter(None, map(damage_of, _chain(error))), ""):
        return DatabaseDamaged(file="A database of this home", problem=damage)
    denial = next(filter(None, map(denial_of, _chain(error))), "")
    return AccessDenied(problem=denial) if denial else InternalError()


def trace_lines(error: BaseException) -> tuple[str, ...]:
    """Where `error` and what led to it arose: file, line, function and exception class; no value of any kind."""
    lines: list[str] = []
    for link in reversed(tuple(_chain(error))):
        lines += [f'  File "{file}", line {line}, in {function}' for file, line, function in _frames(link)]
        lines.append(f"{type(link).__module__}.{type(link).__qualname__}")
    return tuple(lines)


def print_json(value: object) -> None:
    """Write one value as one line of JSON on standard output: what a script reads. Models are plain data by then."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=_plain) + "\n")


def print_line(text: str) -> None:
    """Write one line for a person on standard output."""
    sys.stdout.write(text + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Show a table for a person; cells are plain text, not markup."""
    from shared.terminal_table import print_with_rich  # which takes as long to load as a call

    print_with_rich(title, columns, rows)


def show_examination(parts: "Iterable[Examined]", *, as_json: bool) -> None:
    """Show each part when it was examined, or all as JSON; raises `typer.Exit` with code 1 for a problem."""
    seen = []
    for part in parts:
        seen.append(part)
        if not as_json:
            print_line(f"{part.health:<8} {part.part}: {part.sentence}")
            sys.stdout.flush()
    if as_json:
        print_json(seen)
    if any(part.health == "problem" for part in seen):
        raise typer.Exit(ExitCode.FAILED)


def _plain(value: object) -> object:
    dump = getattr(value, "model_dump", None)  # of a pydantic model; pydantic itself is not loaded for this
    return str(value) if dump is None else dump(mode="json")


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Arguments without `--debug`, and whether it was among them; after `--` everything is the verb's own."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument != "--debug"]
    return options + list(arguments[end:]), len(options) < end


def be_quiet() -> None:
    """Keep libraries' warnings and a thread's traceback, either of which may quote a value, off the terminal."""
    warnings.simplefilter("ignore")
    threading.excepthook = lambda hook: None if hook.exc_value is None else _thread_failed(hook.exc_value)


def _thread_failed(error: BaseException) -> None:
    if not isinstance(error, SystemExit):
        report(error)


def _write(error: dict[str, Any], *, as_json: bool) -> None:
    text = json.dumps({"error": error}, ensure_ascii=False) if as_json else f"error: {error['message']}"
    sys.stderr.write(text + "\n")


def _usage_sentence(error: click.ClickException) -> str:
    """Click's message, which names the option or argument, as a sentence with the way to the help."""
    message = " ".join(error.format_message().split()).rstrip(".?")
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx is not None else ""
    return f"{message}; see `{command} --help`." if command else f"{message}."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _frames(error: BaseException) -> Iterator[tuple[str, int, str]]:
    entry: TracebackType | None = error.__traceback__
    while entry is not None:
        code = entry.tb_frame.f_code
        yield code.co_filename, entry.tb_lineno, code.co_name
        entry = entry.tb_next
