"""Of several submissions of one study the one that arrived last is open, in whatever order they are opened."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from coordinator.cli import app
from coordinator.curation.fetching import Fetcher
from coordinator.curation.opening import Arrival, OpenedStudy, list_opened, open_sealed
from coordinator.curation.passes import run_pass
from shared.errors.inputs import SubmissionSuperseded
from site_node.submit.client import submitting
from tests.factories.federation import running_federation, sealed_study
from tests.factories.validated import PROTOCOL, SealedStudy, make_sealed, make_validated

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[SealedStudy, ...]:
    """One study, sealed with other images each time; the number of its arrival is its place."""
    folder = tmp_path_factory.mktemp("versions")
    return tuple(
        make_sealed(folder / str(slices), make_validated(folder / f"images-{slices}", slices=slices))
        for slices in (1, 2, 3)
    )


@given(order=st.lists(st.integers(0, 2), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_last_to_arrive_stays(versions: tuple[SealedStudy, ...], order: list[int]) -> None:
    """After each opening the highest number that was opened is open; each that it replaced is named once."""
    with TemporaryDirectory() as folder:
        replaced = list[int]()
        for place, version in enumerate(order):
            best = max(order[:place], default=-1)
            study = versions[version]

            def open_it(study: SealedStudy = study, version: int = version) -> None:
                open_sealed(
                    study.sealed.ciphertext,
                    study.sealed.manifest,
                    identity=study.identity,
                    site_key=study.signing.public,
                    protocol_digest=PROTOCOL,
                    out=Path(folder),
                    number=version + 1,
                )

            if version < best:
                with pytest.raises(SubmissionSuperseded):
                    open_it()
            else:
                open_it()
                replaced += [best] if -1 < best < version else []
            ids = tuple(versions[number].sealed.manifest.manifest.submission for number in replaced)
            (opened,) = list_opened(Path(folder))
            last = max(order[: place + 1])
            assert opened.signed == versions[last].sealed.manifest
            assert opened.arrival == Arrival(number=last + 1, superseded=ids)


def test_passes_settle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass opens what arrived since; a further one over the whole list fetches nothing, and `curate list` tells."""
    opened, open_one = list[str](), Fetcher.open

    def noting(fetcher: Fetcher, name: str) -> OpenedStudy:
        opened.append(name)
        return open_one(fetcher, name)

    monkeypatch.setattr(Fetcher, "open", noting)
    with running_federation(tmp_path) as federation:
        curator = federation.curator()
        home, member = federation.site("Growing Hospital")
        with submitting(home, member) as submit:
            for slices in (2, 3):
                submit(sealed_study(home, member, slices=slices))
        with federation.reading() as reading:
            first, second = (row.id for row in reading.submissions())
        for _ in range(3):
            assert run_pass(curator, None).whole
        assert opened == [first, second]
        command = ["--home", str(curator.folder), "curate"]
        (listed,) = json.loads(CliRunner().invoke(app, [*command, "list", "--json"]).output)
        assert (listed["submission"], listed["superseded"]) == (second, [first])
        assert f"{first} of study" in " ".join(CliRunner().invoke(app, [*command, "list"]).output.split())
        again = CliRunner().invoke(app, [*command, "open", first])
        assert again.exit_code == 3
        assert "superseded" in again.output
        (curator.opened / member.site_id / listed["study"] / "arrival.json").unlink()  # as an earlier release left it
        assert run_pass(curator, None).whole
        assert opened == [first, second, first]
