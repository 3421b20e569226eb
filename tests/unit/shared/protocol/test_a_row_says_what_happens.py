"""A row of a table says one thing of one attribute; a wrong one is named by its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors.protocol import ProtocolInvalid
from shared.protocol.clinical import Code, Field
from shared.protocol.iod import required_of
from shared.protocol.loader import load_profile, load_protocol
from shared.protocol.private import BLOCKS, read_safe_private
from shared.protocol.rules import Action, read_rules
from shared.protocol.vr import FORMS, LONG_VRS, LONGEST, SHORT_VRS, VRS, WORD_SIZES
from shared.protocol.words import Word, WordRules, Words, unmarked

HEAD = "tag,keyword,vr,action,required,source\n"
PRIVATE = "group,creator,element,name,vr,vm,source\n"
CT = "1.2.840.10008.5.1.4.1.1.2"


def row(tag: int, vr: str = "CS", action: str = "keep") -> str:
    return f"{tag:08X},X,{vr},{action},,a test\n"


@given(comments=st.integers(0, 3), good=st.lists(st.integers(0x00080000, 0x00090000), unique=True, max_size=5))
def test_the_line_of_a_wrong_row_is_said(comments: int, good: list[int]) -> None:
    """Counted from 1 with the lines about the file before it; rows come back in the order of their tags."""
    text = "# about\n" * comments + HEAD + "".join(map(row, good))
    line = comments + len(good) + 2
    if good:
        assert [rule.tag for rule in read_rules(text, file="x.csv")] == sorted(good)
        with pytest.raises(ProtocolInvalid, match=f"line {line} names a tag again"):
            read_rules(text + row(good[0]), file="x.csv")
    for wrong in (row(0x00100010, action="copy"), row(0x00100010, vr="XX"), "zz\n"):
        with pytest.raises(ProtocolInvalid, match=f"line {line} has an unknown"):
            read_rules(text + wrong, file="x.csv")


@pytest.mark.parametrize("vr", sorted(VRS))
@pytest.mark.parametrize("action", list(Action))
def test_free_text_is_copied_by_no_row(vr: str, action: Action) -> None:
    """Names and free text are neither kept nor declared; prose may be cleaned, and nothing else of them."""
    free = vr in {"ST", "LT", "UT", "UC", "UR", "PN", "UN", "AE"}
    cleaned = action == "clean" and vr in {"ST", "LT", "UT", "UC"}
    text = HEAD + row(0x00100010, vr, action)
    if free and action in {"keep", "clean", "device"} and not cleaned:
        with pytest.raises(ProtocolInvalid, match="copies free text"):
            read_rules(text, file="x.csv")
    else:
        assert read_rules(text, file="x.csv")[0].action is action


@given(block=st.integers(0x10, 0xFF), element=st.integers(0, 0xFF), group=st.integers(4, 0x7FFE))
def test_a_safe_private_element_lies_where_its_creator_reserved(block: int, element: int, group: int) -> None:
    """PS3.5 section 7.8.1: (gggg,bbee)."""
    group = 2 * group + 1
    assert (BLOCKS[0], BLOCKS[-1]) == (0x10, 0xFF)
    [safe] = read_safe_private(f"{PRIVATE}{group:04X},MAKER,{element:02X},Name,IS,1,a test\n", file="x.csv")
    rule = safe.rule(block)
    assert f"{rule.tag:08X}" == f"{group:04X}{block:02X}{element:02X}"
    assert (rule.action, rule.vrs, rule.multiplicity) == (Action.KEEP, frozenset({"IS"}), "1")


def test_a_private_element_stands_once() -> None:
    """Of the same creator; another creator's of the same number is another."""
    line = "0019,MAKER,0C,Name,IS,1,a test\n"
    assert len(read_safe_private(PRIVATE + line + line.replace("MAKER", "OTHER"), file="x")) == 2
    with pytest.raises(ProtocolInvalid, match="line 3 names an element again"):
        read_safe_private(PRIVATE + line + line, file="x")
    for wrong in (line.replace("0019", "0018"), line.replace("IS", "PN"), line.replace(",1,", ",n,")):
        with pytest.raises(ProtocolInvalid, match="line 2 is malformed"):
            read_safe_private(PRIVATE + wrong, file="x")


def test_a_profile_answers_for_its_own_blocks_only() -> None:
    """Asked again, or for a creator that nobody knows, whose name is not remembered: files choose it."""
    profile = load_profile("tcia")
    group = min(profile.safe_groups)
    creator = next(element.creator for element in profile.safe if element.group == group)
    first = profile.block_rules(group, 0x10, creator)
    assert first
    assert profile.block_rules(group, 0x10, creator) is first
    assert profile.block_rules(group, 0x11, creator).keys() != first.keys()
    known = len(profile._blocks)
    assert not profile.block_rules(group, 0x10, "DOE^JANE")
    assert len(profile._blocks) == known
    assert profile.kept_rules.keys() == {
        tag for tag, rule in profile.by_tag.items() if rule.action not in {Action.REMOVE, Action.WRITE}
    }


def test_a_representation_is_short_or_long() -> None:
    """PS3.5 section 7.1.2 and 6.2: 34 of them; words are of whole bytes, and a value of these three has a length."""
    assert (len(SHORT_VRS), len(LONG_VRS), len(VRS)) == (21, 13, 34)
    assert dict(LONGEST) == {"AE": 16, "LO": 64, "SH": 16}
    sizes = {vr: {"D": 8, "V": 8, "F": 4, "L": 4, "W": 2, "S": 2, "T": 2}[vr[1]] for vr in WORD_SIZES}
    assert dict(WORD_SIZES) == sizes | {"FD": 8, "FL": 4, "SL": 4, "UL": 4, "SS": 2, "US": 2}


@pytest.mark.parametrize(
    ("vr", "longest"), [("CS", b"A" * 16), ("DS", b"1" * 16), ("IS", b"1" * 12), ("UI", b"1" * 64), ("AS", b"090Y")]
)
def test_a_value_is_no_longer_than_its_representation_allows(vr: str, longest: bytes) -> None:
    """PS3.5 table 6.2-1."""
    assert FORMS[vr].standard.fullmatch(longest)
    assert not FORMS[vr].standard.fullmatch(longest + longest[-1:])


@pytest.mark.parametrize("kind", ["key", "code", "integer", "number", "date", "text"])
@pytest.mark.parametrize("codes", [(), (Code(value="1", meaning="one"),)])
def test_only_a_coded_field_has_codes(kind: str, codes: tuple[Code, ...]) -> None:
    """Identifiers and free text do not leave, everything else does."""
    values = {"name": "x", "title": "X", "meaning": "a test", "kind": kind, "codes": codes}
    if (kind == "code") != bool(codes):
        with pytest.raises(ValueError, match="codes belong"):
            Field.model_validate(values)
        return
    assert Field.model_validate(values).leaves == (kind not in ("key", "text"))


def test_a_field_of_the_dictionary_has_its_name() -> None:
    """What joins, what leaves and what does neither are the whole."""
    clinical = load_protocol().clinical
    assert all(clinical.named(field.name) is field for field in clinical.fields)
    assert {field.name for field in clinical.keys} == {each.name for each in clinical.fields if each.kind == "key"}
    staying = {field.name for field in clinical.fields if field.kind in ("key", "text")}
    assert {field.name for field in clinical.released_fields} == {each.name for each in clinical.fields} - staying


def test_an_image_has_what_the_standard_requires() -> None:
    """PS3.3: SOP Class UID with a value, Patient's Name at all, in a sequence what its items must have."""
    rows = {each.tag: each.value for each in required_of(CT)[()]}
    assert (rows[0x00080016], rows[0x00100010]) == (True, False)
    assert any(len(places) == 1 and rows for places, rows in required_of(CT).items())
    assert not required_of("1.2.3")


RULES = load_profile().vocabulary.rules


def make_words(vocabulary: dict[str, Word], prose: frozenset[str] = frozenset()) -> Words:
    return Words(rules=RULES, vocabulary=vocabulary, devices=frozenset(), surnames=frozenset(), prose=prose)


@given(
    collections=st.integers(0, RULES.public.known_everywhere + 1),
    patients=st.integers(0, RULES.public.patients + 1),
    rank=st.integers(0, 2),
    word=st.sampled_from(["ab", "abc", "abcd"]),
)
def test_a_surname_leaves_where_it_is_public_only(collections: int, patients: int, rank: int, word: str) -> None:
    """In codes every word leaves; glued are long public words that are no surname."""
    words = make_words({word: Word(collections, patients, rank)}, frozenset({"prose"}))
    is_public = collections >= RULES.public.collections and patients >= RULES.public.patients
    assert (word in words.in_text) == (is_public or not rank or word in RULES.reviewed.words)
    assert word in words.in_codes
    assert (word in words.glued) == (is_public and not rank and len(word) > 2)
    assert (word in words.known_everywhere) == (collections >= RULES.public.known_everywhere)
    assert words.in_text >= RULES.reviewed.words | {"prose"}
    assert words.in_codes >= RULES.reviewed.words | RULES.terms.coded


def test_a_word_with_marks_stands_without_them_too() -> None:
    """Then it may be a surname, by its rank in the list; a word of its own keeps what is known of it."""
    files = {
        "rules.toml": "",
        "words/vocabulary.tsv": "word\tcollections\tpatients\tsurname_rank\n"
        "dünn\t7\t8\t\ndunn\t1\t2\t\nmüll\t3\t4\t\nname\t1\t2\t5\n",
        "words/surnames.txt": "# common\nsmith mull\nlast",
        "words/devices.txt": "# makers\nMaker One\n\n",
        "words/english.txt": "and\n",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.protocol.words.parse_part", lambda *_, **__: small_rules(2))
        without, words = (Words.from_files(files, file="rules.toml", prose=prose) for prose in (False, True))
    assert not without.prose
    assert words.prose == {"and"}
    assert words.vocabulary["dunn"] == Word(1, 2, 0)
    assert words.vocabulary["mull"] == Word(3, 4, 2)
    assert words.vocabulary["dünn"] == Word(7, 8, 0)
    assert words.vocabulary["name"] == Word(1, 2, 5)
    assert words.surnames == {"smith", "mull"}
    assert words.devices == {"maker one"}
    assert unmarked("THÓRAX") == "thorax"
    assert not [name for name in ("vocabulary", "devices", "surnames", "prose") if f" {name}=" in repr(words)]


def small_rules(surnames: int) -> WordRules:
    return RULES.model_copy(update={"public": RULES.public.model_copy(update={"common_surname": surnames})})


@pytest.mark.parametrize("part", ["forms", "schemes", "numbers"])
def test_what_is_no_regular_expression_is_refused(part: str) -> None:
    values = RULES.model_dump()
    wrong = {"forms": {"names": ("(",)}, "schemes": {"X": "("}, "numbers": {**values["numbers"], "decimals": "("}}
    with pytest.raises(ValueError, match="no regular expression"):
        WordRules.model_validate({**values, part: wrong[part]})
