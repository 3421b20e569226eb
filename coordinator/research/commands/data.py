"""`data`: what may be asked."""

import typer

from coordinator.research.commands.options import AsJson, federation_of
from shared.federation.asked import askable
from shared.terminal import print_json, print_line, print_table


def data(context: typer.Context, as_json: AsJson = False) -> None:
    """What may be asked: the cohort's variables, labels that can be learned, models, and of how many hospitals.

    It does not say which hospitals these are, nor how much each has: a cohort's table counts all of them together.
    """
    offered = federation_of(context).offered()
    if as_json:
        print_json(offered)
        return
    cohort, labels = offered.offer.cohort, offered.offer.labels
    variables = [(each.name, each.unit, each.title, ", ".join(each.labels)) for each in cohort.variables]
    print_table(f"Cohort {cohort.name}", ("variable", "of", "meaning", "categories"), variables)
    named = askable(offered.offer.protocol_digest).values()
    besides = [each.frame for each in named if each.own and each.own not in cohort.variables]
    print_table(
        "Besides, by study",
        ("variable", "meaning", "categories"),
        [(v.name, v.title, ", ".join(v.labels)) for v in besides],
    )
    numbers = [
        (each.name, each.frame.unit, each.frame.title, *(f"{end:g}" for end in each.bounds))
        for each in named
        if each.bounds
    ]
    print_table("Numbers, in bins of a plan", ("variable", "of", "meaning", "edges above", "up to"), numbers)
    print_table("Labels", ("label", "title", "meaning"), [(each.name, each.title, each.meaning) for each in labels])
    print_line(f"Models: {', '.join(offered.offer.models)}.")
    for purpose, count in offered.sites.items():
        print_line(f"The agreements of {count} hospitals cover {purpose}.")
