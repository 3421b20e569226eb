"""A site answers from one snapshot of its library: no two answers tell fewer patients apart than its minimum."""

from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.durable import write_whole
from shared.errors.federation import SnapshotOutdated
from shared.ids import PatientPseudonym, Sha256, Uid
from site_node.federate.questions import Questions
from site_node.home.clearing import clear_library
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.home.library import LibraryInstance, LibrarySeries, LibraryStudy, add_study, load_listed
from site_node.home.withdrawals import Level

MINIMUM = 3
PATIENTS = 8
STUDY = st.tuples(st.integers(0, PATIENTS - 1), st.integers(0, 1))  # of a patient, and which of two

Step = tuple[str, Any]
STEPS = st.one_of(
    st.tuples(st.just("add"), st.lists(st.tuples(STUDY, st.integers(1, 2)), min_size=1, max_size=6)),
    st.tuples(st.just("withdraw study"), STUDY),
    st.tuples(st.just("withdraw patient"), st.integers(0, PATIENTS - 1)),
    st.tuples(st.just("withdraw image"), STUDY),
    st.tuples(st.just("withdraw in mid-answer"), STUDY),
    st.tuples(st.just("allow"), STUDY),
    st.tuples(st.just("ask"), st.none()),
)


class Site:
    """A home whose library grows and shrinks, and what it answered from: the digest of each study, by patient."""

    def __init__(self, home: SiteHome) -> None:
        self.home, self.ledger = home, Ledger(home.ledger)
        home.library.mkdir()
        self.questions = Questions(cast("Any", SimpleNamespace(library=home.library, ledger=home.ledger)))
        self.answers: list[dict[str, frozenset[tuple[str, str]]]] = []
        self.withdrawn: set[str] = set()

    def add(self, study: tuple[int, int], images: int) -> None:
        """As the pipeline does: what is withdrawn is not added."""
        uid = uid_of(study)
        if self.ledger.withdrawals.covers(uid, patient_of(study)):
            return
        file = self.home.folder / "image"
        write_whole(file, b"image")
        record = LibraryStudy(
            study=uid,
            patient=patient_of(study),
            modalities=("CT",),
            series=(LibrarySeries(uid=uid, modality="CT", instance_count=images),),
            instances=tuple(
                LibraryInstance(
                    file=f"{number}.dcm", sop_instance_uid=Uid(f"{uid}.{number}"), series=uid, sha256=Sha256("0" * 64)
                )
                for number in range(images)
            ),
        )
        rest = record.without(self.ledger.withdrawals.instances(uid))
        if rest is not None:
            add_study(self.home.library, rest, {each.file: file for each in rest.instances})

    def withdraw(self, level: Level, name: str, study: str = "") -> None:
        self.ledger.withdrawals.enter(level, [name], 1, study=study)
        clear_library(self.home, self.ledger)

    def ask(self, meanwhile: tuple[int, int] | None = None) -> None:
        """Answer a question, with a withdrawal in its midst perhaps; keep what was answered from."""
        with suppress(SnapshotOutdated):
            with self.questions.answering(MINIMUM) as studies:
                answered: dict[str, set[tuple[str, str]]] = {}
                for study in load_listed(self.home.library, studies):
                    assert not self.ledger.withdrawals.covers(study.study, study.patient)
                    images = {each.sop_instance_uid for each in study.instances}
                    assert not images & self.ledger.withdrawals.instances(study.study)
                    answered.setdefault(study.patient, set()).add((study.study, studies[study.study]))
                if meanwhile is not None:
                    self.withdraw(Level.STUDY, uid_of(meanwhile))
                    is_used = uid_of(meanwhile) in studies
                else:
                    is_used = False
            assert not is_used, "an answer left with a study that was withdrawn before it did"
            self.answers.append({patient: frozenset(them) for patient, them in answered.items()})


def uid_of(study: tuple[int, int]) -> Uid:
    return Uid(f"1.{study[0] + 1}.{study[1] + 1}")


def patient_of(study: tuple[int, int]) -> PatientPseudonym:
    return PatientPseudonym(f"123456-{study[0]:06d}")


def play(site: Site, steps: list[Step]) -> None:
    for kind, what in steps:
        match kind:
            case "add":
                for study, images in what:
                    site.add(study, images)
            case "withdraw study":
                site.withdraw(Level.STUDY, uid_of(what))
            case "withdraw patient":
                site.withdraw(Level.PATIENT, f"123456-{what:06d}")
            case "withdraw image":
                site.withdraw(Level.INSTANCE, f"{uid_of(what)}.0", uid_of(what))
            case "withdraw in mid-answer":
                site.ask(what)
            case "allow":
                site.ledger.withdrawals.lift(Level.STUDY, uid_of(what))
            case _:
                site.ask()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=14))
def test_any_two_answers_differ_in_no_patient_or_in_enough(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    """Whatever came, left, was made anew or withdrawn between or during them; and none has what was withdrawn."""
    site = Site(SiteHome(tmp_path_factory.mktemp("home")))
    with closing(site.ledger):
        play(site, [*steps, ("ask", None)])
    for index, later in enumerate(site.answers):
        for other in site.answers[:index]:
            differing = sum(later.get(patient) != other.get(patient) for patient in later.keys() | other.keys())
            assert differing == 0 or differing >= MINIMUM


def test_it_moves_on_as_soon_as_it_may(tmp_path: Path) -> None:
    """Not before a minimum of patients came; after a withdrawal nothing is answered until then, and then it is."""
    site = Site(SiteHome(tmp_path))
    with closing(site.ledger):
        play(site, [("add", [((patient, 0), 1) for patient in range(3)]), ("ask", None)])
        play(site, [("add", [((3, 0), 1), ((4, 0), 1)]), ("ask", None)])
        assert [len(answer) for answer in site.answers] == [3, 3]
        play(site, [("add", [((5, 0), 1)]), ("ask", None)])
        assert [len(answer) for answer in site.answers] == [3, 3, 6]
        play(site, [("withdraw study", (0, 0)), ("ask", None), ("add", [((6, 0), 1)]), ("ask", None)])
        assert len(site.answers) == 3
        assert site.ledger.snapshots.missing(list_of(site), MINIMUM) == 1
        play(site, [("add", [((7, 0), 1)]), ("ask", None)])
        assert [len(answer) for answer in site.answers] == [3, 3, 6, 7]


def test_a_withdrawal_that_is_not_carried_out_yet_stops_every_answer(tmp_path: Path) -> None:
    """Also one of a study that was never in a snapshot: the library may hold it still."""
    site = Site(SiteHome(tmp_path))
    with closing(site.ledger):
        play(site, [("add", [((patient, 0), 1) for patient in range(3)]), ("ask", None)])
        site.ledger.withdrawals.enter(Level.STUDY, [uid_of((7, 1))], 1)
        play(site, [("ask", None)])
        assert len(site.answers) == 1
        clear_library(site.home, site.ledger)
        play(site, [("ask", None)])
        assert len(site.answers) == 2


def list_of(site: Site) -> Any:
    from site_node.home.library import list_library

    return list_library(site.home.library)
