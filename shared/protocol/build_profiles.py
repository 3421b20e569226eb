"""Write a table of `data/deidentify` from the facts.

    python -m shared.protocol.build_profiles FACTS --dictionary DICTIONARY --profile NAME --out FILE

FACTS is the folder of restated facts that `build_deidentify` names; DICTIONARY is PS3.6 as CSV with the columns `tag`
(eight hexadecimal digits), `keyword` and `vr`.
"""

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from shared.protocol.build_2020 import decide_2020
from shared.protocol.build_deidentify import EDITION, HEADER, Decider, Facts, build, decide, read_facts
from shared.protocol.build_tcia import decide_tcia, extra_tags

DECIDERS: Mapping[str, Decider] = MappingProxyType({"ricord": decide, "ricord-2020": decide_2020, "tcia": decide_tcia})


def build_table(profile: str, facts: Facts, dictionary: Mapping[int, tuple[str, str]]) -> list[tuple[str, ...]]:
    """The rows of a profile's table."""
    extra = extra_tags(dictionary) if profile == "tcia" else frozenset()
    return build(facts, dictionary, DECIDERS[profile], extra)


def main(arguments: list[str] | None = None) -> None:
    """Write the table to `--out`."""
    parser = argparse.ArgumentParser(description="Build a de-identification table from the facts.")
    parser.add_argument("facts", type=Path)
    parser.add_argument("--dictionary", type=Path, required=True)
    parser.add_argument("--profile", choices=sorted(DECIDERS), default="ricord")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    facts, dictionary = read_facts(options.facts), _read_dictionary(options.dictionary)
    unknown = sum(tag not in dictionary for tag in facts.standard)
    with options.out.open("w", encoding="utf-8", newline="") as target:
        target.write(f"# edition: {EDITION}\n")
        target.write(f"# {unknown} rows of PS3.15 that the dictionary lacks are removed, as all that no row names\n")
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(build_table(options.profile, facts, dictionary))


def _read_dictionary(file: Path) -> dict[int, tuple[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return {int(row["tag"], 16): (row["keyword"], row["vr"]) for row in csv.DictReader(lines)}


if __name__ == "__main__":
    main()
