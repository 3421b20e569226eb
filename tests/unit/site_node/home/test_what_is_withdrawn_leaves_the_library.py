"""What is withdrawn leaves the library and what was decoded of it, wherever a kill comes; everything else stays."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shared.ids import PatientPseudonym, Sha256, Uid
from site_node.home.clearing import clear_library
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.home.library import (
    LibraryInstance,
    LibrarySeries,
    LibraryStudy,
    add_study,
    decoded_folder,
    load_library,
)
from site_node.home.withdrawals import Level

STUDIES = [(f"1.2.{number}", f"123456-00000{number // 2}") for number in range(6)]  # two of each patient
WITHDRAWALS = st.one_of(
    st.tuples(st.just(Level.SITE), st.just(""), st.just("")),
    st.tuples(st.just(Level.PATIENT), st.sampled_from([patient for _, patient in STUDIES]), st.just("")),
    st.tuples(st.just(Level.STUDY), st.sampled_from([study for study, _ in STUDIES]), st.just("")),
    st.sampled_from([study for study, _ in STUDIES]).flatmap(
        lambda study: st.tuples(
            st.just(Level.INSTANCE), st.sampled_from([f"{study}.{n}.{n}" for n in range(2)]), st.just(study)
        )
    ),
)
STEPS = ("unlink", "rmdir", "link", "replace", "rename", "fsync")


class Killed(BaseException):
    """Nothing after it is done: no handler of errors sees it."""


@pytest.fixture(scope="module")
def fuse() -> Iterator[list[int]]:
    """How many steps on the disk are left before the kill; the last one is not done."""
    left = [10**9]

    def mortal(step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return step(*arguments, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, mortal(getattr(os, name)))
        yield left


def filled(folder: Path) -> SiteHome:
    """A home with a library of six studies of two series with an image each, and something decoded."""
    home = SiteHome(folder)
    home.library.mkdir(parents=True)
    file = folder / "image.dcm"
    for study, patient in STUDIES:
        uids = [f"{study}.{number}" for number in range(2)]
        file.write_bytes(study.encode())
        record = LibraryStudy(
            study=Uid(study),
            patient=PatientPseudonym(patient),
            modalities=("CT", "DX"),
            series=tuple(
                LibrarySeries(uid=Uid(uid), modality=kind, instance_count=1)
                for uid, kind in zip(uids, ("CT", "DX"), strict=True)
            ),
            instances=tuple(
                LibraryInstance(
                    file=f"{uid}.dcm",
                    sop_instance_uid=Uid(f"{uid}.{uid[-1]}"),
                    series=Uid(uid),
                    sha256=Sha256("0" * 64),
                )
                for uid in uids
            ),
        )
        add_study(home.library, record, {instance.file: file for instance in record.instances})
    file.unlink()
    (decoded_folder(home.library) / "64").mkdir(parents=True)
    (decoded_folder(home.library) / "64" / "image.npy").touch()
    return home


def files_of(library: Path) -> set[str]:
    return {str(path.relative_to(library)) for path in library.rglob("*") if path.name.endswith(".dcm")}


@example(withdrawn=[(Level.STUDY, "1.2.0", "")], kills=[4])  # after the study, before what was decoded
@example(withdrawn=[(Level.INSTANCE, "1.2.0.0.0", "1.2.0")], kills=[1, 10])  # before the rest has its name
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(withdrawn=st.lists(WITHDRAWALS, max_size=4), kills=st.lists(st.integers(0, 60), max_size=4))
def test_it_is_gone_and_the_rest_stays(
    fuse: list[int],
    tmp_path_factory: pytest.TempPathFactory,
    withdrawn: list[tuple[Level, str, str]],
    kills: list[int],
) -> None:
    """After any kills, the first call that ends has removed every withdrawn image and no other; it says so once."""
    fuse[0] = 10**9
    home = filled(tmp_path_factory.mktemp("home") / "h")
    names = {(level, name) for level, name, _ in withdrawn}

    def stays(study: str, patient: str) -> bool:
        return not names & {(Level.SITE, ""), (Level.STUDY, study), (Level.PATIENT, patient)}

    expected = {
        f"{study}/{study}.{n}.dcm"
        for study, patient in STUDIES
        for n in range(2)
        if stays(study, patient) and (Level.INSTANCE, f"{study}.{n}.{n}") not in names
    }
    with closing(Ledger(home.ledger)) as ledger:
        for level, name, study in withdrawn:
            ledger.withdrawals.enter(level, [name], 1, study=study)
        for steps in kills:
            fuse[0] = steps
            with suppress(Killed):
                clear_library(home, ledger)
        fuse[0] = 10**9
        clear_library(home, ledger)
        clear_library(home, ledger)
        assert ledger.withdrawals.in_library() == ()
        assert [event.action for event in ledger.events()] == ["library-clear"] * bool(withdrawn)
    assert {name for name in files_of(home.library) if not name.partition("/")[0].endswith(".unfinished")} == expected
    for kept in load_library(home.library):
        assert {f"{kept.study}/{each.file}" for each in kept.instances} <= expected
        assert [each.uid for each in kept.series] == [each.series for each in kept.instances]
        assert len(kept.modalities) == len(kept.series)
    assert decoded_folder(home.library).exists() == (not withdrawn)


def test_a_study_whose_record_is_damaged_goes_with_a_patient(tmp_path: Path) -> None:
    """Nobody can say that it is not the withdrawn patient's; for a study that is withdrawn, it stays for a person."""
    home = filled(tmp_path / "home")
    (home.library / "1.2.4" / "study.json").write_text("{")
    with closing(Ledger(home.ledger)) as ledger:
        ledger.withdrawals.enter(Level.STUDY, ["1.2.0"], 1)
        clear_library(home, ledger)
        assert (home.library / "1.2.4").exists()
        ledger.withdrawals.enter(Level.PATIENT, ["123456-000000"], 2)
        clear_library(home, ledger)
    assert sorted(path.name for path in home.library.iterdir()) == ["1.2.2", "1.2.3", "1.2.5"]
