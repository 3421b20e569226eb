"""`words`: which words of texts leave besides the public ones, as a named person of the hospital decided."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from shared.counts import counted
from shared.protocol.accepted import AcceptedList
from shared.terminal import make_app, print_json, print_line, print_table
from site_node.commands.options import Json, Person, node_of
from site_node.node.open import Node
from site_node.review import words as decisions

words = make_app("Show which words were dropped from texts here, and accept some of them by name.")

Word = Annotated[str, typer.Argument(help="The word, in capital or small letters.", show_default=False)]
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept in the home's audit.")]


@words.command()
def propose(context: typer.Context, as_json: Json = False) -> None:
    """Show the words that de-identification dropped from the texts of at least 20 patients here.

    They may be patient data: they are shown on a terminal only, and nothing leaves the hospital. Into a file or a
    script goes their number.

    Example: `ricord-site words propose`
    """
    with node_of(context, writing=False) as node:
        least = node.stages.protocol.profile.vocabulary.rules.public.patients
        proposals = node.ledger.words(node.stages.names).proposals(least)
    if as_json:
        print_json({"proposed": len(proposals)})
    elif sys.stdout.isatty():
        print_table(
            f"{counted(len(proposals), 'word')} of at least {counted(least, 'patient')}",
            ["Word", "Patients"],
            proposals,
        )
    else:
        dropped = f"{counted(len(proposals), 'word', 'was')} dropped for at least {counted(least, 'patient')}"
        print_line(f"{dropped}; a terminal shows which.")


@words.command()
def show(context: typer.Context, as_json: Json = False) -> None:
    """Show the accepted words: who accepted each, when and why; the list's version and digest.

    The digest stands in the validation report of every study that was de-identified by this list.

    Example: `ricord-site words show`
    """
    with node_of(context, writing=False) as node:
        site_words = node.ledger.words(node.stages.names)
        accepted, acceptances = site_words.accepted(), site_words.acceptances()
    if as_json:
        entries = [{"word": each.word, "at": each.at, "by": each.actor, "reason": each.reason} for each in acceptances]
        print_json({"version": accepted.version, "digest": accepted.digest, "words": entries})
        return
    rows = [(each.word, f"{each.at[:10]} {each.at[11:16]}", each.actor, each.reason) for each in acceptances]
    print_table(f"{len(rows)} accepted words", ["Word", "When", "Who", "Why"], rows)
    print_line(f"version {accepted.version}, digest {accepted.digest}")


@words.command()
def accept(context: typer.Context, word: Word, *, reason: Why = "", person: Person = "", as_json: Json = False) -> None:
    """Let a word leave in the texts of studies that are de-identified from now on.

    It leaves inside the images, and sealed to the curator in the contents of each study that has it. Refused is what
    `words propose` does not show, what was part of a removed name, place or institution here, and a common surname.

    Example: `ricord-site words accept nativ --as "A. Miller" --reason "native phase"`
    """
    _decide(
        context,
        lambda node: decisions.accept(
            node.ledger,
            node.stages.names,
            node.stages.protocol.profile.vocabulary,
            word,
            actor=person,
            reason=reason,
        ),
        as_json=as_json,
    )


@words.command()
def drop(context: typer.Context, word: Word, *, reason: Why = "", person: Person = "", as_json: Json = False) -> None:
    """Take an accepted word back. Studies that have it and are not sealed yet begin again; those submitted keep it.

    Example: `ricord-site words drop nativ --as "A. Miller" --reason "a nickname here"`
    """
    _decide(
        context,
        lambda node: decisions.drop(node.ledger, node.stages.names, word, actor=person, reason=reason),
        as_json=as_json,
    )


def _decide(context: typer.Context, decision: Callable[[Node], AcceptedList], *, as_json: bool) -> None:
    with node_of(context, writing=False) as node:
        accepted = decision(node)
    shown = {"words": len(accepted.words), "version": accepted.version, "digest": accepted.digest}
    if as_json:
        print_json(shown)
    else:
        print_line(
            f"The list has {counted(len(accepted.words), 'word')}: version {accepted.version}, digest {accepted.digest}"
        )
