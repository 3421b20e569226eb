"""Every table that a script makes of the developers' shared facts is the one that is committed."""

import csv
from itertools import chain
from pathlib import Path

import pytest

from shared.protocol import build_iod, build_profiles
from shared.protocol.build_deidentify import Facts, build, decide, read_facts
from shared.protocol.build_iod import reduce_rows
from shared.protocol.build_profiles import DECIDERS
from shared.protocol.build_tcia import decide_tcia

FACTS = Path(__file__).resolve().parents[4].parent / "shared" / "protocol"
TABLES = Path(build_iod.__file__).parent / "data" / "deidentify"
with_facts = pytest.mark.skipif(not FACTS.is_dir(), reason="the developers' shared facts are not here")
NO_FACTS = Facts(appendix={}, standard={}, kept=frozenset(), required={}, used=frozenset())


def rows_of(text: str) -> list[list[str]]:
    """The rows, heading first, without comments."""
    return [*csv.reader(line for line in text.splitlines() if not line.startswith("#"))]


@with_facts
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(DECIDERS))
def test_the_profiles_tables(name: str, tmp_path: Path) -> None:
    """Their comment counts what the dictionary lacks of PS3.15; without its options there is no table."""
    pytest.importorskip("yaml", reason="PyYAML is needed to rebuild the table only")
    committed = rows_of((TABLES / f"{name}.csv").read_text(encoding="utf-8"))
    dictionary, out = tmp_path / "dictionary.csv", tmp_path / "table.csv"
    with dictionary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(row[:3] for row in committed)
    options = {"--dictionary": str(dictionary), "--out": str(out), "--profile": name}
    build_profiles.main([str(FACTS), *chain.from_iterable(options.items())])
    text = out.read_text(encoding="utf-8")
    assert rows_of(text) == committed
    absent = read_facts(FACTS).standard.keys() - {int(row[0], 16) for row in committed[1:]}
    assert [line for line in text.splitlines() if line.startswith(f"# {len(absent)} rows of PS3.15")]
    for option in ("--dictionary", "--out"):
        with pytest.raises(SystemExit):
            build_profiles.main(
                [str(FACTS), *chain.from_iterable(each for each in options.items() if option not in each)]
            )


@with_facts
@pytest.mark.slow
def test_what_an_image_must_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of Type 1 and 2, byte for byte."""
    committed = build_iod.OUT.read_bytes()
    monkeypatch.setattr(build_iod, "OUT", tmp_path / "required.csv")
    build_iod.main(FACTS / "iod_attribute_types.csv")
    assert build_iod.OUT.read_bytes() == committed


@with_facts
@pytest.mark.slow
def test_the_first_source_that_names_an_attribute_decides() -> None:
    """A decision of ours comes first, then the 2020 appendix, then PS3.15, then use."""
    pytest.importorskip("yaml", reason="PyYAML is needed to rebuild the table only")
    facts = read_facts(FACTS)
    assert decide(0x00100030, "PatientBirthDate", "DA", facts)[0] == "empty"
    assert decide(0x00080020, "StudyDate", "DA", facts) == ("shift", "2020 appendix")
    assert decide(0x00080031, "SeriesTime", "TM", facts)[0] == "keep"
    assert decide(0x00180050, "SliceThickness", "DS", facts)[0] == "keep"
    assert decide(0x00189999, "Unheard", "UT", facts)[0] == "remove"


@pytest.mark.parametrize("group", [0x0000, 0x0002, 0x0004, 0xFFFE])
def test_commands_file_meta_directories_and_delimiters_have_no_row(group: int) -> None:
    """Whichever source names one."""
    tags = {group << 16 | 0x0001, 0x00080060}
    rows = build(NO_FACTS, dict.fromkeys(tags, ("Any", "UL")), extra=tags)
    assert [row[0] for row in rows] == ["00080060"]


@pytest.mark.parametrize("vr", ["UN", "PN", "OB", "OW", "AE"])
def test_no_name_address_or_opaque_bytes_describe_an_image(vr: str) -> None:
    """Such an attribute of an isotope is removed, and the table says why."""
    action, source = decide_tcia(0x00549999, "Unheard", vr, NO_FACTS)
    assert (action, "names, addresses and opaque bytes" in source) == ("remove", True)


def row(path: str, kind: str, usage: str) -> dict[str, str]:
    return {
        "sop_class_uid": "1",
        "module_usage": usage,
        "sequence_path": path,
        "keyword": "K",
        "tag": "8",
        "type": kind,
    }


@pytest.mark.parametrize(
    ("rows", "table"),
    [
        ([row("", "1", "M"), row("", "2", "M")], [("1", "", "8", "1")]),
        ([row("", "2", "M"), row("", "2", "M")], [("1", "", "8", "2")]),
        ([row("", "1", "U"), row("", "1", "C"), row("", "1C", "M"), row("", "3", "M")], []),
        ([row("S", "2", "U"), row("S/S", "1", "C")], [("1", "9", "8", "2"), ("1", "9/9", "8", "1")]),
        ([row("S/Unknown", "1", "M")], []),
    ],
)
def test_an_attribute_is_required_without_a_condition(
    rows: list[dict[str, str]], table: list[tuple[str, str, str, str]]
) -> None:
    """By the stricter type; at the top of a mandatory module, or in an item of a sequence that is known by tag."""
    assert reduce_rows(rows, {"S": "9"}) == table
