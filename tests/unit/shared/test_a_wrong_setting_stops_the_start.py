"""Settings files: a wrong key stops the start with its name and line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors.settings import InvalidSetting, SettingsMissing, SettingsUnreadable, UnknownSetting
from shared.frozen import Frozen
from shared.settings import line_of, load_settings
from site_node.federate.policy import SitePolicy


class Ports(Frozen):
    main: int


class Program(Frozen):
    name: str
    ports: Ports


GOOD = 'name = "x"\n\n[ports]\nmain = 7000\n'


def load(tmp_path: Path, text: str) -> Program:
    file = tmp_path / "program.toml"
    file.write_text(text)
    return load_settings(file, Program, program="program")


def test_good_settings_load(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD).ports.main == 7000


def test_an_unknown_key_is_named_with_its_line(tmp_path: Path) -> None:
    """An unknown key, a mistake that would otherwise stay silent, is named with its line."""
    with pytest.raises(UnknownSetting) as caught:
        load(tmp_path, GOOD + "mian = 3\n")
    assert caught.value.fields["key"] == "ports.mian"
    assert caught.value.fields["line"] == "5"
    assert "write `main`" in caught.value.public
    with pytest.raises(UnknownSetting, match="remove it"):
        load(tmp_path, GOOD + "zzz = 3\n")


def test_a_wrong_value_is_named_with_its_line_and_never_quoted(tmp_path: Path) -> None:
    """A setting may be a secret, so its value is not shown."""
    with pytest.raises(InvalidSetting) as caught:
        load(tmp_path, 'name = "x"\n[ports]\nmain = "hunter2"\n')
    assert caught.value.fields["line"] == "3"
    assert "hunter2" not in caught.value.public


def test_a_wrong_name_in_a_table_is_said_in_our_words(tmp_path: Path) -> None:
    """Neither the key nor the problem has a word of pydantic's own."""
    file = tmp_path / "policy.toml"
    for text, key, problem in (
        ('[pins]\n"68112" = "x"\n', "pins.68112", "this is not a valid SiteId"),
        (
            '[pins]\n"681129" = "SHA256:typo"\n',
            "pins",
            "that of 681129 is no fingerprint as `ricord-site key fingerprint` shows it",
        ),
        ('small_cells = "min-k"\n', "small_cells", "it is none of cms-11, nhs-7-round-5, min-k (such as min-5)"),
    ):
        file.write_text(text)
        with pytest.raises(InvalidSetting) as caught:
            load_settings(file, SitePolicy, program="ricord-site")
        assert (caught.value.fields["key"], caught.value.fields["problem"]) == (key, problem)


def test_a_missing_key_points_to_its_table(tmp_path: Path) -> None:
    """The error of a missing key names the line of its table."""
    with pytest.raises(InvalidSetting) as caught:
        load(tmp_path, 'name = "x"\n[ports]\n')
    assert caught.value.fields["line"] == "2"


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsMissing) as caught:
        load_settings(tmp_path / "none.toml", Program, program="ricord-site")
    assert "ricord-site init" in caught.value.public


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsUnreadable) as caught:
        load(tmp_path, 'name = "x"\nports = = 3\n')
    assert caught.value.fields["line"] == "2"


@pytest.mark.parametrize(("text", "line"), [('name = "x"\n\n[ports', "3"), ("name = [\n1,\n", "3"), ("name", "1")])
def test_toml_that_breaks_off_names_its_last_line(tmp_path: Path, text: str, line: str) -> None:
    """A number, as for any other mistake: the parser names none for the end of the file."""
    with pytest.raises(SettingsUnreadable) as caught:
        load(tmp_path, text)
    assert caught.value.fields["line"] == line


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (GOOD + "main = 7001\n", "line 5: a setting or section of this name stands before"),
        (GOOD + "[ports]\n", "line 5: a setting or section of this name stands before"),
        ("name = hunter2\n", "line 1: this is not TOML, such as a text without quotes"),
        ('name = "hunter2\n', "line 1: this is not TOML, such as a text without quotes"),
    ],
)
def test_broken_toml_has_its_cause_and_never_the_value(tmp_path: Path, text: str, cause: str) -> None:
    """The mistakes of a first edit: a sign removed twice, quotes forgotten."""
    with pytest.raises(SettingsUnreadable) as caught:
        load(tmp_path, text)
    assert (cause in caught.value.public, "hunter2" in caught.value.public) == (True, False)


@given(
    tables=st.lists(st.sampled_from(["a", "b", "a.b", "c"]), max_size=5),
    blank=st.lists(st.sampled_from(["", "# a comment", "  "]), max_size=2),
    path=st.tuples(st.sampled_from("abc"), st.sampled_from("bx"), st.sampled_from("xy")),
)
def test_the_line_is_the_keys_own_else_its_tables(
    tables: list[str], blank: list[str], path: tuple[str, str, str]
) -> None:
    """The first that says most of the key, by whichever of TOML's ways; of a key that stands nowhere it is 1."""
    lines = [*blank, "x = 1"]
    known: dict[tuple[str, ...], int] = {(): 1, ("x",): len(lines)}
    for table in tables:
        for text, key in ((f"[{table}]", ()), ('"x" = 1', ("x",)), (" x.y = 2", ("x", "y")), ("not a setting", None)):
            lines.append(text)
            if key is not None:
                known.setdefault((*table.split("."), *key), len(lines))
    expected = max((len(key), -line) for key, line in known.items() if path[: len(key)] == key)
    assert line_of("\n".join(lines), path) == -expected[1]


def test_a_name_is_looked_for_in_its_own_table(tmp_path: Path) -> None:
    """Of whatever kind it may be; a name of another table is no advice."""

    class Either(Frozen):
        ports: Ports | None = None
        others: tuple[Ports, ...] = ()
        name: str = ""

    file = tmp_path / "program.toml"
    for text, advice in (("[ports]\nmain = 1\nmian = 1\n", "write `main`"), ("nmae = 1\n", "write `name`")):
        file.write_text(text)
        with pytest.raises(UnknownSetting, match=advice):
            load_settings(file, Either, program="program")
    file.write_text("[ports]\nmain = 1\nnmae = 1\n")
    with pytest.raises(UnknownSetting) as refused:
        load_settings(file, Either, program="program")
    assert "write" not in refused.value.fields["advice"]


def test_a_file_that_is_no_text_is_said_so(tmp_path: Path) -> None:
    file = tmp_path / "program.toml"
    file.write_bytes(b"name = '\xff'")
    with pytest.raises(SettingsUnreadable, match="UTF-8") as refused:
        load_settings(file, Program, program="program")
    assert refused.value.fields["line"] == "1"
