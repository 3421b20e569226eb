"""Three reads become a label as published, by a named policy, whoever read first; the rest is adjudicated."""

from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.curation.reading.consensus import Answer, Classification, Consensus, adjudicate, consensus
from shared.errors.inputs import NotFound, ReadingRefused
from shared.protocol.loader import load_annotation

DEFINITION = load_annotation()
GRADES = [term.name for term in DEFINITION.group("grade").terms]
GRADED = [term.name for term in DEFINITION.group("appearance").terms if term.name != "negative"]
NEGATIVE = Classification(appearance="negative")
READS = [NEGATIVE, *(Classification(appearance=each, grade=grade) for each, grade in product(GRADED, GRADES))]
TRIPLES = [*product(READS, repeat=3)]
policies = st.sampled_from(["apart", "pair"])
triples = st.tuples(*[st.sampled_from(READS)] * 3)


def test_over_all_triples() -> None:
    """Of the 1,000 triples `pair` decides 280; `apart` 496, with 324 without a category and 180 without a grade."""
    assert len(TRIPLES) == 1000
    paired = [consensus(triple, DEFINITION, "pair") for triple in TRIPLES]
    apart = [consensus(triple, DEFINITION) for triple in TRIPLES]
    assert {each.policy for each in apart} == {"apart"}  # the default
    assert sum(not each.undecided for each in paired) == 280
    assert sum(not each.undecided for each in apart) == 496
    assert sum("appearance" in each.undecided for each in apart) == 324
    assert sum(each.undecided == ("grade",) for each in apart) == 180


@pytest.mark.parametrize("policy", ["apart", "pair"])
def test_readers_are_alike(policy: str) -> None:
    """Every order of the same three reads gives the same result."""
    for triple in TRIPLES:
        assert len({consensus(each, DEFINITION, policy).model_dump_json() for each in permutations(triple)}) == 1


@pytest.mark.parametrize("policy", ["apart", "pair"])
def test_a_label_is_what_two_say(policy: str) -> None:
    """What is decided, at least two of the three say; what is not, no two of them do; a negative film has no grade."""
    for triple in TRIPLES:
        result = consensus(triple, DEFINITION, policy)
        said = [[read.appearance for read in triple], [read.grade for read in triple if read.grade]]
        for answer, terms in zip((result.appearance, result.grade), said, strict=True):
            if answer.how == "majority":
                assert terms.count(answer.term or "") >= 2
                assert sum(answer.votes) <= 3
            elif policy == "apart" and answer.how == "undecided":
                assert max(map(terms.count, terms)) == 1
        assert (result.appearance.term != "negative") or result.grade.how == "not asked"
        if policy == "pair":
            assert (not result.undecided) == (len({*triple}) < 3)
            assert result.undecided in {(), ("appearance", "grade")}


def test_a_result_says_how() -> None:
    """It says 3:0 or 2:1 of each vote, and the policy."""
    mild = Classification(appearance="typical", grade="mild")
    severe = Classification(appearance="typical", grade="severe")
    assert consensus([mild] * 3, DEFINITION).appearance.ratio == "3:0"
    two = consensus([mild, severe, severe], DEFINITION)
    assert (two.appearance.ratio, two.grade.ratio, two.grade.term) == ("3:0", "2:1", "severe")
    assert consensus([mild, mild, NEGATIVE], DEFINITION).grade.ratio == "2:0"  # of those who gave a grade
    assert consensus([mild, mild, NEGATIVE], DEFINITION, "pair").grade.ratio == "2:1"
    assert consensus([NEGATIVE, NEGATIVE, mild], DEFINITION).model_dump(include={"grade"}) == {
        "grade": {"term": None, "how": "not asked", "votes": (1,)}
    }


@given(triples, policies, st.sampled_from(READS))
def test_adjudication_decides_what_is_undecided(
    triple: tuple[Classification, ...], policy: str, decision: Classification
) -> None:
    """It leaves nothing open, changes nothing that was decided, and marks what it decided."""
    result = consensus(triple, DEFINITION, policy)
    given_terms = {name: getattr(decision, name) for name in result.undecided if getattr(decision, name) is not None}
    fits = bool(result.undecided) and ("appearance" in result.undecided or decision.grade is not None)
    if fits and "grade" not in result.undecided and decision.grade is None:
        given_terms.pop("grade", None)
    if not fits:
        with pytest.raises(ReadingRefused):
            adjudicate(result, DEFINITION, by="Z", readers="ABC", **given_terms)
        return
    final = adjudicate(result, DEFINITION, by="Z", readers="ABC", **given_terms)
    assert not final.undecided
    assert final.policy == policy
    for name in ("appearance", "grade"):
        before, after = getattr(result, name), getattr(final, name)
        assert after.votes == before.votes
        if name in given_terms:
            assert after == Answer(term=given_terms[name], how="adjudicated", votes=before.votes)
        else:
            assert after == before or (name, after.how) == ("grade", "not asked")
    assert (final.appearance.term == "negative") == (final.grade.term is None)


OPEN = consensus([READS[1], READS[5], READS[9]], DEFINITION)  # three appearances, three grades
NO_GRADE = consensus([READS[1], READS[2], READS[3]], DEFINITION)
NO_APPEARANCE = consensus([READS[1], READS[4], READS[7]], DEFINITION)


@pytest.mark.parametrize(
    ("result", "terms", "problem"),
    [
        (NO_GRADE, {"appearance": "typical", "grade": "mild"}, "the appearance is decided"),
        (NO_GRADE, {}, "the grade is undecided"),
        (NO_GRADE, {"grade": "dire"}, "its grade is none of mild, moderate, severe"),
        (OPEN, {"grade": "mild"}, "the appearance is undecided"),
        (OPEN, {"appearance": "typical"}, "the grade is undecided"),
        (OPEN, {"appearance": "negative", "grade": "mild"}, "an appearance that is negative has no grade"),
        (NO_APPEARANCE, {"appearance": "typical", "grade": "mild"}, "the grade is decided"),
        (consensus([NEGATIVE] * 3, DEFINITION), {"appearance": "typical"}, "nothing is undecided"),
    ],
)
def test_an_adjudication_of_anything_else_is_refused(result: Consensus, terms: dict[str, str], problem: str) -> None:
    """What is decided stays, what is undecided must be answered, and in the terms."""
    with pytest.raises(ReadingRefused, match=problem):
        adjudicate(result, DEFINITION, by="Z", readers="ABC", **terms)


def test_a_negative_adjudication_leaves_no_grade() -> None:
    """Where the adjudicator says negative, a grade on which readers agreed falls away."""
    assert NO_APPEARANCE.grade.term == "mild"
    final = adjudicate(NO_APPEARANCE, DEFINITION, by="Z", readers="ABC", appearance="negative")
    assert (final.grade.how, final.grade.votes) == ("not asked", (3,))


def test_who_read_does_not_adjudicate() -> None:
    """An adjudicator who read the study is refused in a sentence."""
    with pytest.raises(ReadingRefused, match="who read a study does not adjudicate it"):
        adjudicate(OPEN, DEFINITION, by="B", readers="ABC", appearance="negative")


@pytest.mark.parametrize(
    ("reads", "problem"),
    [
        (READS[:2], "it needs 3 reads, there are 2"),
        (READS[:4], "it needs 3 reads, there are 4"),
        ([*READS[:2], Classification(appearance="odd")], "its appearance is none of"),
        ([*READS[:2], Classification(appearance="typical")], "its grade is none of"),
        ([*READS[:2], Classification(appearance="negative", grade="mild")], "has no grade"),
    ],
)
def test_what_is_no_vote_is_refused(reads: list[Classification], problem: str) -> None:
    """Another number of reads, or a read in other terms, is not voted on."""
    with pytest.raises(ReadingRefused, match=problem):
        consensus(reads, DEFINITION)


def test_an_unknown_policy_is_refused() -> None:
    """A policy is one of the definition's."""
    with pytest.raises(NotFound, match="There is no voting policy most"):
        consensus([NEGATIVE] * 3, DEFINITION, "most")


def test_a_term_stands_where_something_is_decided() -> None:
    """An answer that is undecided has no term, a decided answer has one."""
    with pytest.raises(ValueError, match="exactly where it is decided"):
        Answer(how="undecided", term="mild")
    with pytest.raises(ValueError, match="exactly where it is decided"):
        Answer(how="majority")
