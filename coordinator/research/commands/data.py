"""`data`: what may be asked."""

import typer

from coordinator.research.commands.options import AsJson, federation_of
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
    print_table("Labels", ("label", "title", "meaning"), [(each.name, each.title, each.meaning) for each in labels])
    print_line(f"Models: {', '.join(offered.offer.models)}.")
    for purpose, count in offered.sites.items():
        print_line(f"The agreements of {count} hospitals cover {purpose}.")
