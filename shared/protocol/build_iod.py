"""Build `data/iod/required.csv`: the Type 1 and 2 attributes of CR, DX, CT and Enhanced CT images (PS3.3 Annex A).

Run `python -m shared.protocol.build_iod SOURCE.csv`, where SOURCE lists every attribute of those objects with module,
usage, sequence path, tag and type (built from highdicom 0.28.2, MIT). The table keeps unconditional types only: at the
top level those of mandatory modules; in sequence items those of every module, because a macro binds each item that is
present. It leaves out sequences that neither SOURCE nor the profile's table knows by tag: they do not survive
de-identification.
"""

import csv
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from shared.protocol.loader import load_profile

OUT = Path(__file__).parent / "data" / "iod" / "required.csv"
_HEAD = "# PS3.3 Type 1 and 2 of CR, DX, CT and Enhanced CT, from highdicom 0.28.2 (MIT); made by build_iod.py\n"
_COLUMNS = ("sop_class", "path", "tag", "type")


def reduce_rows(rows: Iterable[Mapping[str, str]], known: Mapping[str, str]) -> list[tuple[str, str, str, str]]:
    """The unconditional rows, with the stricter type where modules differ; `known` maps keywords to tags."""
    table = list(rows)
    tags = {**known, **{row["keyword"]: row["tag"] for row in table}}
    types: dict[tuple[str, str, str], str] = {}
    for row in table:
        names = [name for name in row["sequence_path"].split("/") if name]
        if row["type"] not in {"1", "2"} or not (names or row["module_usage"] == "M"):
            continue
        if not tags.keys() >= set(names):
            continue
        key = (row["sop_class_uid"], "/".join(tags[name] for name in names), row["tag"])
        types[key] = min(row["type"], types.get(key, "2"))
    return sorted((*key, kind) for key, kind in types.items())


def main(source: Path) -> None:
    """Write the table beside this module."""
    with source.open(encoding="utf-8", newline="") as stream:
        rows = reduce_rows(csv.DictReader(stream), {rule.keyword: f"{rule.tag:08X}" for rule in load_profile().rules})
    with OUT.open("w", encoding="utf-8", newline="") as stream:
        stream.write(_HEAD)
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
