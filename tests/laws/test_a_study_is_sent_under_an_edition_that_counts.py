"""Whatever editions site and coordinator have, a study is received under one that is accepted and agreed, or waits."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from coordinator.editions.accepted import check_edition
from coordinator.store.records import Edition
from shared.agreement import AgreementTerms
from shared.editions import EditionRange, ProtocolEdition, rank
from shared.errors.protocol import EditionNotCovered, EditionOver, ProtocolMismatch
from shared.ids import Sha256
from site_node.home.ledger import Ledger, State
from site_node.node.pipeline import Pipeline
from site_node.node.stages import Stages
from site_node.study import Sealed, Submitted, Validated
from tests.factories.pipeline import enter, make_home, make_stages, make_study

NOW = datetime(2027, 1, 1, tzinfo=UTC)
NAMES = ("2026.9", "2026.11", "2027.3", "2028.1")
EDITIONS = {
    name: ProtocolEdition(protocol="ricord", edition=name, digest=Sha256(f"{number:064x}"))
    for number, name in enumerate(NAMES)
}
BY_DIGEST = {edition.digest: edition for edition in EDITIONS.values()}


class Case(NamedTuple):
    """Which editions there are where, and until how many days from now each is accepted (`None`: noted only)."""

    sealed: str
    site: str
    coordinator: str
    agreed: EditionRange | None
    signed: str
    listed: Mapping[str, int | None]

    @property
    def terms(self) -> AgreementTerms:
        """The agreement, of which nothing else is asked."""
        values: dict[str, Any] = {
            "protocol": "ricord",
            "protocol_digest": EDITIONS[self.signed].digest,
            "editions": self.agreed,
        }
        return AgreementTerms.model_construct(**values)

    def covers(self, name: str) -> bool:
        """Whether the agreement covers an edition, by the order of `NAMES`."""
        if self.agreed is None:
            return name == self.signed
        return NAMES.index(self.agreed.first) <= NAMES.index(name) <= NAMES.index(self.agreed.last)

    def counts(self, name: str) -> bool:
        """Whether a study of an edition is to be received."""
        days = self.listed.get(name)
        return self.covers(name) and (name == self.coordinator or (days is not None and days > 0))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    first, signed, last = sorted(draw(st.tuples(*[st.sampled_from(NAMES)] * 3)), key=NAMES.index)
    agreed = draw(st.sampled_from([None, EditionRange(first=first, signed=signed, last=last)]))
    sealed, site, coordinator = draw(st.tuples(*[st.sampled_from(NAMES)] * 3))
    listed = draw(st.dictionaries(st.sampled_from(NAMES), st.sampled_from([None, -1, 0, 1])))
    return Case(sealed, site, coordinator, agreed, signed, listed)


def check(case: Case, digest: Sha256) -> None:
    """What the coordinator of the case says of a study of that edition."""
    rows = {
        EDITIONS[name].digest: Edition(
            **EDITIONS[name].model_dump(),
            noted_at=NOW,
            accepted_until=None if days is None else NOW + timedelta(days=days),
        )
        for name, days in case.listed.items()
    }
    reading: Any = SimpleNamespace(edition=rows.get)
    check_edition(reading, digest, installed=EDITIONS[case.coordinator], terms=case.terms, now=NOW)


def stages_of(case: Case, simple: Stages, name: str) -> Stages:
    """The stages of a site that has an edition, as `SiteStages.available` puts them together."""
    edition, seal, submit = EDITIONS[name], simple.seal, simple.submit
    assert seal is not None
    assert submit is not None

    def sealed(study: Validated, sequence: int) -> Sealed:
        made = seal(study, sequence)
        manifest = made.manifest.manifest.model_copy(update={"protocol_digest": edition.digest})
        return made.model_copy(update={"manifest": made.manifest.model_copy(update={"manifest": manifest})})

    def submitted(study: Sealed) -> Submitted:
        check(case, study.manifest.manifest.protocol_digest)
        return submit(study)

    if not case.terms.covers(edition):
        problem = EditionNotCovered(edition=name, protocol="ricord")
        return Stages(screen=simple.screen, submit=submitted, obstacle=lambda: problem)
    return replace(
        simple,
        seal=sealed,
        submit=submitted,
        is_of_another_edition=lambda study: study.manifest.manifest.protocol_digest != edition.digest,
    )


@settings(max_examples=150)
@given(cases())
def test_the_coordinator_accepts_what_is_listed_and_agreed(case: Case) -> None:
    """Exactly the edition installed, and those listed until their date, where the agreement covers them."""
    for name, edition in EDITIONS.items():
        assert case.terms.covers(edition) == case.covers(name)
        if case.counts(name):
            check(case, edition.digest)
            continue
        known, in_time = name in case.listed, (case.listed.get(name) or 0) > 0
        expected = EditionNotCovered
        if name != case.coordinator and not in_time:
            expected = EditionOver if known else ProtocolMismatch  # type: ignore[assignment]
        with pytest.raises(expected):
            check(case, edition.digest)


@settings(max_examples=50)
@given(cases())
def test_a_sealed_study_is_received_or_made_anew_or_waits(case: Case) -> None:
    """It passes as it is where its edition counts; else it is made anew under the one installed; else it waits whole.

    Once the coordinator lists its edition again it is received, so that no case loses a study.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        home = make_home(folder / "home")
        ledger, simple = Ledger(home.ledger), make_stages(home, folder / "submitted")
        study = make_study(home, "good-1")
        enter(home, ledger, study)
        earlier = case._replace(agreed=None, signed=case.sealed)
        Pipeline(home, ledger, stages_of(earlier, simple, case.sealed)).run(State.SEALED)
        stages = stages_of(case, simple, case.site)
        progress = Pipeline(home, ledger, stages).run()
        state = ledger.study(study.key).state
        sent = [path.read_text() for path in (folder / "submitted").iterdir()]
        by_site = case.covers(case.site) and case.counts(case.site)
        assert (state is State.SUBMITTED) == (case.counts(case.sealed) or by_site)
        if state is State.SUBMITTED:
            under = case.sealed if case.counts(case.sealed) else case.site
            assert EDITIONS[under].digest in sent[0]
        else:
            assert state is State.SEALED
            assert isinstance(progress.blocked, (EditionOver, ProtocolMismatch, EditionNotCovered))
            assert not sent
            assert all(instance.path.exists() for instance in study.instances)
            Pipeline(home, ledger, replace(stages, submit=simple.submit)).run()
            assert ledger.study(study.key).state is State.SUBMITTED
        ledger.close()


@settings(max_examples=25)
@given(cases())
def test_what_is_not_sealed_waits_under_an_edition_that_is_not_agreed(case: Case) -> None:
    """Nothing is de-identified then, the error says so, and it goes on once the agreement covers the edition."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        home = make_home(folder / "home")
        ledger, simple = Ledger(home.ledger), make_stages(home, folder / "submitted")
        study = make_study(home, "good-1")
        enter(home, ledger, study)
        progress = Pipeline(home, ledger, stages_of(case, simple, case.site)).run(State.SEALED)
        waits = not case.covers(case.site)
        assert isinstance(progress.blocked, EditionNotCovered) == waits
        assert ledger.study(study.key).state is (State.RECEIVED if waits else State.SEALED)
        ledger.close()


def test_editions_are_ordered_by_their_numbers() -> None:
    """2026.9 comes before 2026.11, and the edition signed lies within its range."""
    assert sorted(set(NAMES), key=rank) == list(NAMES)
    with pytest.raises(ValidationError):
        EditionRange(first="2026.11", signed="2026.9", last="2027.3")
