"""Images of a study come in any pauses, among errors and restarts: each is in exactly one place, and none vanishes."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors.base import InternalError, RicordError
from shared.errors.storage import DiskFull
from shared.errors.studies import DicomUnsupported, ManifestInvalid
from shared.errors.transport import CoordinatorUnreachable
from shared.ids import StudyKey
from site_node.home.folder import SiteHome
from site_node.home.ledger import ARRIVED_LATE, ENDED, Ledger, State
from site_node.home.records import Records
from site_node.node.pipeline import Pipeline
from site_node.review.retry import retry
from site_node.study import Excluded, Included, Received, Sealed, Submitted, Validated
from tests.factories.pipeline import enter, key_of, make_home, make_stages, make_study, reason

IMAGES, ENOUGH = 6, 4
STUDIES = ("grows-1", "grows-2")
GROWS_FOR = timedelta(minutes=10)


class Killed(BaseException):
    """Simulates SIGKILL."""


FAULTS: tuple[tuple[str, BaseException], ...] = (
    ("screen", ZeroDivisionError()),
    ("screen", Killed()),
    ("deidentify", DicomUnsupported(problem="of the test")),
    ("deidentify", DiskFull(folder="x")),
    ("validate", OSError(5, "Input/output error")),
    ("seal", Killed()),
    ("submit", CoordinatorUnreachable(address="nowhere:1")),
    ("submit", InternalError()),
    ("submit", ManifestInvalid(problem="of the test")),
    ("submit", Killed()),
    ("removal", Killed()),
)


class Site:
    """One home, the coordinator that it sends to, a clock that the test moves, and what was accepted and sent."""

    def __init__(self, home: SiteHome) -> None:
        self.home = home
        self.ledger = Ledger(home.ledger)
        self.ahead = timedelta(0)
        self.accepted: set[tuple[StudyKey, str]] = set()
        self.sealed: dict[str, frozenset[str]] = {}  # the images in a sealed file, by the digest of its contents
        self.sent: dict[StudyKey, frozenset[str]] = {}
        self._stages = make_stages(home, home.folder.parent / "submitted")

    def arrive(self, name: str, numbers: set[int]) -> None:
        """Receive some images of a study."""
        before = set((self.home.spool / key_of(name)).glob("*.dcm"))
        study = make_study(self.home, name, files=IMAGES)
        chosen = tuple(instance for number, instance in enumerate(study.instances) if number in numbers)
        for path in {instance.path for instance in study.instances} - {instance.path for instance in chosen} - before:
            path.unlink()
        enter(self.home, self.ledger, study.model_copy(update={"instances": chosen}))
        self.accepted |= {(study.key, instance.name) for instance in chosen}

    def run(self, fault: tuple[str, BaseException] | None = None) -> None:
        """One pass, in which a stage, or the removal of what is over, may fail or be killed."""
        place, error = fault or ("", None)
        stages = replace(self._stages, screen=_screen, seal=self._seal, submit=self._submit)
        if error is not None and place != "removal":
            stages = replace(stages, **{place: mock.Mock(side_effect=error.with_traceback(None))})
        pipeline = Pipeline(self.home, self.ledger, stages, grows_for=GROWS_FOR, now=self._now)
        try:
            with _removals(error) if error is not None and place == "removal" else nullcontext():
                pipeline.run()
        except (RicordError, Killed):
            self.restart()

    def restart(self) -> None:
        """End the process, and start another."""
        self.ledger.close()
        self.ledger = Ledger(self.home.ledger)

    def heal(self) -> None:
        """Nothing fails any more: a person tries again what ended by an error, and the rest goes on by itself."""
        for entry in self.ledger.studies(State.REFUSED, State.QUARANTINED):
            if entry.state is State.QUARANTINED or entry.stopped is State.SEALED:
                retry(self.home, self.ledger, entry.key, actor="A. Miller")
        self.run()

    def check(self) -> None:
        """Each image that was accepted is in one place of the ledger, and where that says."""
        rows = self.ledger._db.execute("select key, name, ending, code from instances").fetchall()
        assert {(row["key"], row["name"]) for row in rows} == self.accepted
        for key, name, ending, code in rows:
            in_spool = (self.home.spool / key / f"{name}.dcm").exists()
            is_apart = (self.home.quarantine / "arrivals" / f"{name}.dcm").exists()
            assert not (in_spool and is_apart)
            entry = self.ledger.study(key)
            is_validated = {entry.state, entry.stopped} & {State.VALIDATED, State.SEALED}
            may_go_on = in_spool or (is_validated and Records(self.home).has_output(key))
            match ending:
                case "waiting":
                    assert may_go_on
                    assert entry.state not in ENDED
                case "submitted":
                    assert name in self.sent[key]
                case "quarantined":
                    assert is_apart if code == ARRIVED_LATE else may_go_on
                case _:
                    assert code, "it has its reason"
                    assert may_go_on or (entry.state, entry.stopped) != (State.REFUSED, State.SEALED)
            if ending == "excluded":
                assert entry.state is State.EXCLUDED, (
                    "no study goes on without images that were left out for the others"
                )
        for entry in self.ledger.studies(State.SUBMITTED):
            submitted = {row["name"] for row in rows if (row["key"], row["ending"]) == (entry.key, "submitted")}
            assert submitted == self.sent[entry.key], "the count is of what was sent"
        assert sum(self.ledger.instance_counts().values()) == len(self.accepted)

    def _now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def _seal(self, study: Validated, sequence: int) -> Sealed:
        assert self._stages.seal is not None
        sealed = self._stages.seal(study, sequence)
        names = frozenset(instance.source.name for instance in study.study.instances)
        self.sealed[sealed.manifest.manifest.contents_sha256] = names
        return sealed

    def _submit(self, sealed: Sealed) -> Submitted:
        assert self._stages.submit is not None
        submitted = self._stages.submit(sealed)
        self.sent[sealed.key] = self.sealed[sealed.manifest.manifest.contents_sha256]
        return submitted


def _screen(study: Received, _: frozenset[str]) -> Included | Excluded:
    """Few images are excluded, as a series with few positions is."""
    if len(study.instances) < ENOUGH:
        return Excluded(study=study, reasons=(reason("few-positions"),))
    return Included(study=study, kept=study.instances, left_out=(), warnings=())


@contextmanager
def _removals(error: BaseException) -> Iterator[None]:
    """Removing a folder removes half of its files and fails."""

    def half(folder: Path, **_: object) -> None:
        for path in [path for path in sorted(folder.rglob("*")) if path.is_file()][::2]:
            path.unlink()
        if folder.exists():
            raise error

    with mock.patch("site_node.node.leftovers.shutil.rmtree", half):
        yield


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> SiteHome:
    return make_home(tmp_path_factory.mktemp("template") / "home")


@contextmanager
def new_site(template: SiteHome) -> Iterator[Site]:
    """A new home."""
    with tempfile.TemporaryDirectory() as folder:
        home = SiteHome(Path(folder) / "home")
        shutil.copytree(template.folder, home.folder)
        site = Site(home)
        try:
            yield site
        finally:
            site.ledger.close()


ACTIONS: st.SearchStrategy[Callable[[Site], None]] = st.one_of(
    st.builds(
        lambda name, numbers: lambda site: site.arrive(name, numbers),
        st.sampled_from(STUDIES),
        st.sets(st.integers(0, IMAGES - 1), min_size=1),
    ),
    st.builds(lambda fault: lambda site: site.run(fault), st.one_of(st.none(), st.sampled_from(FAULTS))),
    st.sampled_from([Site.restart, Site.heal]),
    st.builds(
        lambda minutes: lambda site: setattr(site, "ahead", site.ahead + timedelta(minutes=minutes)),
        st.sampled_from([3, 11]),
    ),
)


@settings(max_examples=50, deadline=None)
@given(actions=st.lists(ACTIONS, max_size=10))
def test_every_image_is_in_one_place_and_none_vanishes(
    template: SiteHome, actions: list[Callable[[Site], None]]
) -> None:
    """After each step, and once everything healed; then no study waits, and none ended by a defect."""
    with new_site(template) as site:
        for action in actions:
            action(site)
            site.check()
        site.heal()
        site.check()
        assert {entry.state for entry in site.ledger.studies()} <= ENDED - {State.QUARANTINED}


def test_images_after_a_pause_join_an_excluded_study(template: SiteHome) -> None:
    """Its originals stay so long; then all of its images go on, and they are what is counted."""
    with new_site(template) as site:
        site.arrive("grows-1", {0, 1})
        site.run()
        assert site.ledger.study(key_of("grows-1")).state is State.EXCLUDED
        site.ahead = timedelta(minutes=9)
        site.run()
        site.arrive("grows-1", {2, 3, 4, 5})
        site.run()
        assert site.ledger.instance_counts() == {"submitted": IMAGES}
        assert len(site.sent[key_of("grows-1")]) == IMAGES


def test_images_after_its_originals_are_deleted_stay_apart_until_all_come(template: SiteHome) -> None:
    """They are quarantined by name, however often they come; received whole, the study goes on whole."""
    with new_site(template) as site:
        site.arrive("grows-1", {0, 1})
        site.run()
        site.ahead = timedelta(minutes=11)
        site.run()
        assert not list(site.home.spool.iterdir())
        for _ in range(2):
            site.arrive("grows-1", {2, 3, 4, 5})
            site.run()
            assert site.ledger.study(key_of("grows-1")).state is State.EXCLUDED
            assert site.ledger.instance_counts() == {"excluded": 2, "quarantined": 4}
            assert len(site.ledger.names(key_of("grows-1"), ARRIVED_LATE)) == 4
            site.check()
        site.arrive("grows-1", set(range(IMAGES)))
        site.check()
        site.run()
        site.check()
        assert site.ledger.instance_counts() == {"submitted": IMAGES}


def test_originals_stay_while_more_images_wait_to_be_received(template: SiteHome) -> None:
    """What came over the network counts as an image of the study though it is not in the spool yet."""
    with new_site(template) as site:
        site.arrive("grows-1", {0, 1})
        site.run()
        site.ahead = timedelta(minutes=11)
        waiting = site.home.arrivals / f".taking-{key_of('grows-1')}-0123"
        waiting.mkdir(parents=True)
        site.run()
        assert len(list((site.home.spool / key_of("grows-1")).iterdir())) == 2
        waiting.rmdir()
        site.run()
        assert not list(site.home.spool.iterdir())


def test_a_removal_that_is_cut_short_leaves_no_half_study(template: SiteHome) -> None:
    """The record goes first, so that nothing of the study is taken for whole."""
    with new_site(template) as site:
        site.arrive("grows-1", {0, 1})
        site.run()
        site.ahead = timedelta(minutes=11)
        real = shutil.rmtree

        def killed_in_the_spool(folder: Path, *, ignore_errors: bool) -> None:
            if folder.parent == site.home.spool:
                next(folder.iterdir()).unlink()
                raise Killed
            real(folder, ignore_errors=ignore_errors)

        with mock.patch("site_node.node.leftovers.shutil.rmtree", killed_in_the_spool):
            site.run()
        assert Records(site.home).find(key_of("grows-1"), Received) is None
        site.arrive("grows-1", {2, 3, 4, 5})
        site.run()
        assert site.ledger.instance_counts() == {"excluded": 2, "quarantined": 4}


def test_a_study_that_a_person_rejected_begins_anew(template: SiteHome) -> None:
    """It is over at once; corrected images are another try, and the rejected ones stay what they are."""
    with new_site(template) as site:
        site.arrive("grows-1", {0})
        rejected = (reason("rejected-in-review"),)
        site.ledger.advance(key_of("grows-1"), State.EXCLUDED, reasons=rejected)
        site.run()
        assert not list(site.home.spool.iterdir())
        site.arrive("grows-1", {1, 2, 3, 4})
        site.run()
        assert site.ledger.instance_counts() == {"excluded": 1, "submitted": 4}
