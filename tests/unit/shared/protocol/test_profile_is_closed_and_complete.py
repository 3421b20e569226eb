"""The de-identification profile as data: closed, complete, and strict about unknown entries."""

import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import pytest

from shared.errors.protocol import ProtocolInvalid
from shared.protocol.loader import load_criteria, load_profile, load_protocol, profile_names, protocol_names
from shared.protocol.profile import COPY_ACTIONS, FREE_TEXT, Action, Profile, digest_of
from shared.protocol.rules import PROSE
from site_node.explain.protocol import MEANINGS, explain_profile, what_leaves


def files() -> dict[str, str]:
    """The data files of all profiles."""
    data = resources.files("shared.protocol") / "data"
    return {
        f"{folder}{entry.name}": entry.read_text(encoding="utf-8")
        for folder in ("", "words/")
        for entry in (data / (folder or "deidentify")).iterdir()
    }


def changed(name: str, old: str, new: str) -> Mapping[str, str]:
    """The data files with one change."""
    texts = files()
    assert old in texts[name]
    return {**texts, name: texts[name].replace(old, new, 1)}


def test_a_protocol_is_read_once() -> None:
    """A running node asks for it in every pass, and reading it takes more than all else that an idle node does."""
    assert load_protocol() is load_protocol()


def test_an_unlisted_attribute_is_removed() -> None:
    """An attribute that no row names is removed."""
    profile = load_profile()
    assert profile.action(0x00091001) is Action.REMOVE
    assert profile.action(0x00080333) is Action.REMOVE


@pytest.mark.parametrize("group", [0x0000, 0x0002, 0x0004, 0x0009, 0x5000, 0x6000, 0xFFFA, 0xFFFC, 0x0014, 0x4008])
def test_groups_of_which_nothing_is_copied(group: int) -> None:
    """No profile copies commands, meta, directories, private groups, curves, overlays, signatures, padding, results."""
    for profile in map(load_profile, profile_names()):
        assert [rule.keyword for rule in profile.rules if rule.tag >> 16 == group and rule.action in COPY_ACTIONS] == []


def test_no_free_text_is_copied() -> None:
    """UR, PN, AE and UN are neither kept nor cleaned; ST, LT, UT and UC are cleaned where a profile has prose."""
    for profile in map(load_profile, profile_names()):
        allowed = PROSE if profile.prose else frozenset[str]()
        copied = [rule for rule in profile.rules if rule.action in COPY_ACTIONS and rule.vrs & FREE_TEXT]
        assert [rule.keyword for rule in copied if rule.action is not Action.CLEAN or rule.vrs - allowed] == []


def test_dates_are_shifted_or_gone_and_uids_mapped_or_gone() -> None:
    """No DA, DT or UI is copied but the SOP class."""
    for profile in map(load_profile, profile_names()):
        copied = [rule for rule in profile.rules if rule.action in COPY_ACTIONS and rule.vrs & {"DA", "DT", "UI"}]
        assert [rule.keyword for rule in copied] == ["SOPClassUID"]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("ricord.csv", ",keep,", ",keeep,"),
        ("ricord.csv", "PatientName,PN,patient", "PatientName,PN,keep"),
        ("ricord.csv", "00080018,", "00080016,"),
        ("ricord.csv", "00080016,", "0000ZZZZ,"),
        ("ricord.csv", "00080016,SOPClassUID,UI,keep", "00020016,SOPClassUID,UI,keep"),
        ("ricord.toml", "[claims]", "[claims]\nnonsense = 1"),
        ("ricord.toml", "uid_root", "uid_rot"),
        ("ricord.toml", "ricord.csv", "absent.csv"),
        ("ricord.toml", "words/rules.toml", "words/absent.toml"),
        ("ricord.toml", "[claims]", "[claims"),
        ("ricord.toml", 'cleaned = "113105"', 'cleaned = "113199"'),
        ("ricord.toml", 'always = ["113100"', 'always = ["113102", "113112"'),
        ("ricord.toml", '= "cr"', '= "xa"'),
        ("ricord.csv", "00080060,Modality,CS", "00080060,Modality,XX"),
        ("ricord-2020.csv", "PatientBirthDate,DA,birth", "PatientBirthDate,DA,berth"),
        ("ricord-2020.toml", "notes = [", "note = ["),
        ("tcia.csv", ",clean,", ",Clean,"),
        ("tcia.csv", "StudyDate,DA,shift", "StudyDate,DA,"),
        ("tcia.toml", "tcia-private.csv", "absent.csv"),
        ("tcia.toml", 'private = "113111"', 'private = "999999"'),
        ("tcia.toml", 'private = "113111"', 'privat = "113111"'),
        ("tcia-private.csv", "0019,SIEMENS MR HEADER,0C", "0018,SIEMENS MR HEADER,0C"),
        ("tcia-private.csv", "0019,SIEMENS MR HEADER,0C", "0019,SIEMENS MR HEADER,0D"),
        ("tcia-private.csv", "0019,SIEMENS MR HEADER,0C", "0019,SIEMENS MR HEADER,10C"),
        ("tcia-private.csv", "0019,SIEMENS MR HEADER,0C", "0019,,0C"),
        ("tcia-private.csv", "B_value,IS", "B_value,UN"),
        ("tcia-private.csv", "B_value,IS", "B_value,SQ"),
        ("tcia-private.csv", "B_value,IS,", "B_value,IS,keep,"),
        ("tcia-private.csv", "element,name", "element,title"),
    ],
)
def test_a_wrong_file_refuses_to_load(name: str, old: str, new: str) -> None:
    """An unknown action, option, code, kind or form, a doubled or malformed tag, a copied name, a missing file."""
    profile = name.partition(".")[0].removesuffix("-private")
    with pytest.raises(ProtocolInvalid):
        Profile.from_files(changed(name, old, new), file=f"{profile}.toml")


def test_the_profiles_of_this_release() -> None:
    """There are three profiles, each with its own digest, and none always claims an option that it does not apply."""
    profiles = [load_profile(name) for name in profile_names()]
    assert [profile.name for profile in profiles] == ["ricord", "ricord-2020", "tcia"]
    assert len({profile.digest for profile in profiles}) == 3
    assert [profile.claims.private for profile in profiles] == ["", "", "113111"]
    assert all({"113101", "113110", "113112"}.isdisjoint(profile.claims.always) for profile in profiles)


def test_a_safe_private_element_is_known_by_its_creator() -> None:
    """A safe element is known in whatever block its creator reserved; another creator's of the same number is not."""
    profile = load_profile("tcia")
    assert profile.block_rules(0x0019, 0x10, "SIEMENS MR HEADER").keys() == {
        0x0019100C,
        0x0019100D,
        0x0019100E,
        0x00191027,
    }
    assert 0x0019110C in profile.block_rules(0x0019, 0x11, "SIEMENS MR HEADER")
    assert not profile.block_rules(0x0019, 0x10, "GEMS_ACQU_02")
    assert not profile.block_rules(0x0021, 0x10, "SIEMENS MR HEADER")
    assert not load_profile().block_rules(0x0019, 0x10, "SIEMENS MR HEADER")
    assert all(element.group % 2 for element in profile.safe)


@pytest.mark.parametrize(
    ("tag", "actions"),
    [
        (0x00100030, ("empty", "birth", "empty")),
        (0x00081140, ("keep", "empty", "keep")),
        (0x00181030, ("remove", "remove", "clean")),
        (0x00181000, ("empty", "empty", "device")),
        (0x0008103E, ("clean", "clean", "clean")),
        (0x00080080, ("empty", "empty", "empty")),
        (0x00104000, ("remove", "remove", "clean")),
        (0x00084000, ("remove", "remove", "remove")),
        (0x00541000, ("remove", "remove", "keep")),
        (0x00080030, ("keep", "keep", "keep")),
        (0x00101010, ("age", "age", "age")),
    ],
)
def test_what_the_profiles_differ_in(tag: int, actions: tuple[str, ...]) -> None:
    """Birth date, references, descriptions, device and radiopharmaceutical in `ricord`, `ricord-2020` and `tcia`."""
    assert tuple(load_profile(name).action(tag) for name in profile_names()) == actions


def test_an_empty_table_refuses_to_load() -> None:
    """A table without rows, which would remove everything, refuses to load."""
    with pytest.raises(ProtocolInvalid):
        Profile.from_files({**files(), "ricord.csv": "tag,keyword,vr,action,required,source\n"}, file="ricord.toml")


def test_the_digest_follows_every_byte() -> None:
    """Another byte in any file used is another profile; a file that is not used is not."""
    profile = load_profile()
    for name in ("ricord.toml", "ricord.csv", "words/rules.toml", "words/vocabulary.tsv", "words/surnames.txt"):
        other = Profile.from_files({**files(), name: files()[name] + "\n"}, file="ricord.toml")
        assert other.digest != profile.digest
    assert Profile.from_files({**files(), "unused.toml": ""}, file="ricord.toml").digest == profile.digest


def test_the_digest_is_what_sha256sum_says() -> None:
    """The digest is the SHA-256 of the sorted `sha256sum` lines."""
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest_of({"b": "", "a": ""}) == digest_of({"a": "", "b": ""})
    assert digest_of({"a": ""}) == hashlib.sha256(f"{empty}  a\n".encode()).hexdigest()


def test_protocols_load_and_differ() -> None:
    """Both protocols of this release load; another criteria file is another digest."""
    assert protocol_names() == ("cxr-demo", "ricord")
    ricord, demo = load_protocol(), load_protocol("cxr-demo")
    assert ricord.digest != demo.digest
    assert (ricord.profile.digest, ricord.clinical) == (demo.profile.digest, demo.clinical)


def test_unknown_names_are_errors() -> None:
    """A name that no file bears is an error with the file's name."""
    for load in (load_protocol, load_profile, load_criteria):
        with pytest.raises(ProtocolInvalid):
            load("absent")
    with pytest.raises(ProtocolInvalid):
        load_criteria(Path("/absent/criteria.toml"))


def test_criteria_load_from_a_file(tmp_path: Path) -> None:
    """A site may load criteria from a file of its own."""
    text = (resources.files("shared.protocol") / "data" / "criteria" / "cxr-demo.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    for name in (tmp_path / "mine.toml", str(tmp_path / "mine.toml")):
        assert load_criteria(name) == load_criteria("cxr-demo")


@pytest.mark.parametrize("name", profile_names())
def test_explain_says_every_attribute_and_action(name: str) -> None:
    """Each row, safe private element and note has a line, all other attributes share one; each action has words."""
    profile = load_profile(name)
    lines = explain_profile(profile)
    assert len(lines) == len(profile.rules) + len(profile.safe) + len(profile.notes) + 3
    assert set(MEANINGS) == set(Action)
    assert lines[0].startswith(f"profile {name} ")
    assert profile.digest in lines[0]
    assert any(line.startswith("(0010,0010) PatientName: replaced by the patient's pseudonym") for line in lines)


def test_what_leaves_is_short_and_names_the_clinical_fields() -> None:
    """At most 25 lines, the same every time, naming each clinical field that leaves and each that stays."""
    protocol = load_protocol()
    text = what_leaves(protocol)
    assert len(text.splitlines()) <= 25
    assert text == what_leaves(load_protocol())
    assert all(f"`{field.name}`" in text for field in protocol.clinical.fields)
