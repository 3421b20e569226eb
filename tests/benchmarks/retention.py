"""How much of the series descriptions of public collections each profile keeps, by collection.

A word is a run of letters and digits with a letter in it, so that kernels (`B60f`), measures (`5mm`) and glued words
(`chestabdpel`) count as words. It is kept if the new text holds it too, in any case. Each share is the mean over the
collections, so that one screening trial with many texts does not rule it. Texts with every word kept, and texts that
come out as they went in, are counted apart. All texts stand in the items of one image of an invented patient.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from rich.console import Console

from shared.protocol.loader import load_profile
from shared.protocol.profile import Profile
from site_node.deidentify.study import deidentify
from site_node.study import Deidentified
from tests.benchmarks.measure import Row
from tests.factories.deidentified import PSEUDONYMS
from tests.factories.dicom import make_ct
from tests.factories.studies import make_included, make_received

TEXTS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "descriptions.tsv"
PROMISES = {"words kept": 0.93, "texts with every word kept": 0.82, "texts kept as they are": None}
PROFILES = ("ricord", "tcia")
_WORD = re.compile(r"[^\W_]*[^\W\d_][^\W_]*")


class Kept(NamedTuple):
    """What became of one text."""

    words: int
    kept: int
    unchanged: bool


def rows() -> list[Row]:
    """The shares under each profile; without the developers' shared data, none."""
    if not TEXTS.exists():
        Console().print(f"retention is not measured: {TEXTS.name} of the developers' shared data is not here")
        return []
    lines = [line.split("\t") for line in TEXTS.read_text(encoding="utf-8").splitlines()[1:]]
    texts = [line[0] for line in lines]
    table: list[Row] = []
    for name in PROFILES:
        of_collection: dict[str, list[Kept]] = defaultdict(list)
        for line, new in zip(lines, _released(texts, load_profile(name)), strict=True):
            of_collection[line[3]].append(_kept(line[0], new))
        shares = [mean(column) for column in zip(*map(_shares, of_collection.values()), strict=True)]
        for (what, promised), share in zip(PROMISES.items(), shares, strict=True):
            ratio = share if promised is None else share / promised
            against = "all" if promised is None else f"{promised:.0%}"
            table.append(Row(f"{what}, {name}", 100 * share, "%", against, ratio, None))  # promised of chest texts only
    return table


def _released(texts: Sequence[str], profile: Profile) -> list[str]:
    """What a profile makes of the texts, each a SeriesDescription."""
    dataset = make_ct(slices=1)[0]
    dataset.ReferencedSeriesSequence = Items()
    for text in texts:
        item = Dataset()
        item.SeriesDescription = text
        dataset.ReferencedSeriesSequence.append(item)
    with TemporaryDirectory() as folder:
        study = make_included(make_received(Path(folder) / "spool", [dataset]))
        result = deidentify(study, profile=profile, pseudonyms=PSEUDONYMS, out=Path(folder) / "out")
        assert isinstance(result, Deidentified), result.reasons
        new = pydicom.dcmread(result.instances[0].path)
    return [str(item.get("SeriesDescription", "")) for item in new.ReferencedSeriesSequence]


def _kept(old: str, new: str) -> Kept:
    before, after = (Counter(_WORD.findall(text.casefold())) for text in (old, new))
    return Kept(before.total(), (before & after).total(), old.split() == new.split())


def _shares(texts: Sequence[Kept]) -> tuple[float, float, float]:
    """Of one collection: the share of its words, of its texts with every word, of its unchanged texts."""
    words = sum(text.words for text in texts)
    return (
        sum(text.kept for text in texts) / words if words else 1.0,
        mean(text.kept == text.words for text in texts),
        mean(text.unchanged for text in texts),
    )
