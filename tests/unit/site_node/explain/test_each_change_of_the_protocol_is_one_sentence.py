"""Each statement that an edition of the protocol changes is one sentence, which names what it is about."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from shared.protocol.loader import load_protocol
from shared.protocol.profile import Action
from site_node.explain.editions import changes, statements_of

PROTOCOL = load_protocol()
NAMES = st.sampled_from(["age.lowest", "(0008,0020) StudyDate", "public words"])
statements = st.dictionaries(
    st.sampled_from(["criteria", "word lists"]), st.dictionaries(NAMES, st.sampled_from(["kept", "removed", "18"]))
)


@given(statements, statements)
def test_each_difference_is_said_and_nothing_else(
    before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]
) -> None:
    """As many sentences as differences; none between equal editions."""
    old, new = (
        {(part, name): text for part, texts in edition.items() for name, text in texts.items()}
        for edition in (before, after)
    )
    different = {key for key in {*old, *new} if old.get(key) != new.get(key)}
    sentences = changes(before, after)
    assert len(sentences) == len(different)
    assert all(any(line.startswith(f"{part}: {name} ") for line in sentences) for part, name in different)
    assert not changes(after, after)


def test_criteria_attributes_words_fields_and_figures_are_named() -> None:
    """One change in each part of the protocol."""
    first, *rest = PROTOCOL.profile.rules
    words = PROTOCOL.profile.vocabulary
    reviewed = words.rules.reviewed.model_copy(update={"words": words.rules.reviewed.words | {"newword"}})
    vocabulary = words.model_copy(update={"rules": words.rules.model_copy(update={"reviewed": reviewed})})
    removed = first.model_copy(update={"action": Action.REMOVE if first.action is not Action.REMOVE else Action.KEEP})
    changed = PROTOCOL.model_copy(
        update={
            "criteria": PROTOCOL.criteria.model_copy(update={"age": None}),
            "profile": PROTOCOL.profile.model_copy(update={"rules": (removed, *rest), "vocabulary": vocabulary}),
            "clinical": PROTOCOL.clinical.model_copy(update={"fields": PROTOCOL.clinical.fields[:-1]}),
            "cohort": PROTOCOL.cohort.model_copy(update={"filled": PROTOCOL.cohort.filled[:-1]}),
        }
    )
    sentences = changes(statements_of(PROTOCOL), statements_of(changed))
    for start in (
        "criteria: age.",
        f"clinical dictionary: fields.{PROTOCOL.clinical.fields[-1].name}.",
        "cohort definition: filled was:",
        f"de-identification: ({first.tag >> 16:04X},{first.tag & 0xFFFF:04X}) {first.keyword} was:",
        "word lists: imaging words was:",
    ):
        assert any(sentence.startswith(start) for sentence in sentences), start
    assert "newword" not in " ".join(sentences)


def test_statements_are_the_same_in_every_process() -> None:
    """They are kept and compared by later releases, so no order of a set may enter them."""
    code = """
import hashlib
from shared.protocol.loader import load_protocol, protocol_names
from site_node.explain.editions import statements_of
said = repr([statements_of(load_protocol(name)) for name in protocol_names()])
print(hashlib.sha256(said.encode()).hexdigest())
"""
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1
