"""The options by which a coordinator fills in an agreement's terms."""

from pathlib import Path
from typing import Annotated

import typer

Curator = Annotated[str | None, typer.Option(help="The enrolled curator the site will seal to.")]
Modes = Annotated[str | None, typer.Option(help="Ways of taking part, comma-separated.")]
ScopeText = Annotated[str | None, typer.Option("--scope", help="Exhibit A in general words, so that later data fit.")]
ScopeFile = Annotated[Path | None, typer.Option(help="Instead of --scope: a file with a longer text, in UTF-8.")]
Modalities = Annotated[str | None, typer.Option(help="Codes of DICOM, comma-separated.")]
Studies = Annotated[
    int | None, typer.Option(min=0, max=2**31 - 1, help="The most studies that it covers; 0: no bound.")
]
DataElements = Annotated[str | None, typer.Option(help="What clinical data come with the images, comma-separated.")]
Locations = Annotated[str | None, typer.Option(help="Where the data come from, comma-separated.")]
Licence = Annotated[str | None, typer.Option(help="Of what is published.")]
EthicsReference = Annotated[str | None, typer.Option(help="Of the hospital's ethics committee.")]
EarlierSiteIds = Annotated[str | None, typer.Option(help="SITEIDs of earlier contributions, comma-separated.")]
Starts = Annotated[str | None, typer.Option(help="First day, or the moment of its begin, ISO 8601; empty: at once.")]
Expires = Annotated[str | None, typer.Option(help="Last day, or the moment of its end, ISO 8601; empty: none.")]
Editions = Annotated[
    str | None, typer.Option(help="Of the protocol, FIRST-LAST, as 2026.11-2027.12; empty: only the one installed.")
]
