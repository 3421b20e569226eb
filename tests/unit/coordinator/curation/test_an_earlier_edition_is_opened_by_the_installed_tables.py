"""A study of an earlier edition is opened if its agreement covers that and the installed tables find nothing."""

from pathlib import Path

import pytest

from coordinator.curation.fetching import edition_of
from coordinator.curation.second_look import look_again
from shared.agreement import AgreementTerms
from shared.crypto.contents import Contents
from shared.editions import EditionRange, ProtocolEdition
from shared.errors.studies import SealedFileInvalid
from shared.ids import Sha256
from shared.protocol.profile import Profile
from site_node.deidentify.study import deidentify
from site_node.study import Deidentified
from tests.factories.deidentified import PROFILE, PSEUDONYMS
from tests.factories.studies import make_included, make_study

EARLIER, INSTALLED, LATER = (
    ProtocolEdition(protocol="ricord", edition=name, digest=Sha256(digit * 64))
    for name, digit in (("2026.5", "a"), ("2026.11", "b"), ("2027.3", "c"))
)


def opened(folder: Path, profile: Profile, edition: str, installed: Profile = PROFILE) -> None:
    """Look, by the profile installed, at a study that was de-identified by a profile, as one of an edition."""
    study = make_included(make_study(folder / "spool", "ct", slices=1, SeriesDescription="CT Thorax"))
    output = deidentify(study, profile=profile, pseudonyms=PSEUDONYMS, out=folder / "out")
    assert isinstance(output, Deidentified)
    (instance,) = output.instances
    instance.path.rename(instance.path.parent / f"{instance.sop_instance_uid}.dcm")
    values = {"site_id": PSEUDONYMS.site_id, "accepted": (), "instances": (instance,)}
    look_again(instance.path.parent, Contents.model_construct(**values), installed, edition)  # type: ignore[arg-type]


def earlier_profile() -> Profile:
    """The profile as an earlier edition had it: its name in the method, and nothing else, differs."""
    return PROFILE.model_copy(update={"method": PROFILE.method.replace(PROFILE.edition, EARLIER.edition)})


def test_the_method_may_name_the_edition_under_which_it_was_made(tmp_path: Path) -> None:
    """And no other one."""
    opened(tmp_path / "same", PROFILE, INSTALLED.edition)
    opened(tmp_path / "unchanged", PROFILE, EARLIER.edition)
    opened(tmp_path / "earlier", earlier_profile(), EARLIER.edition)
    with pytest.raises(SealedFileInvalid, match="not-marked"):
        opened(tmp_path / "another", earlier_profile(), INSTALLED.edition)


def test_what_the_installed_tables_do_not_keep_stays_closed(tmp_path: Path) -> None:
    """An earlier edition kept an attribute that the installed one removes."""
    rule = next(rule for rule in PROFILE.rules if rule.keyword == "SeriesDescription")
    installed = PROFILE.model_copy(update={"rules": tuple(each for each in PROFILE.rules if each != rule)})
    del installed.__dict__["by_tag"]
    with pytest.raises(SealedFileInvalid, match=r"not-listed \(0008,103e\)"):
        opened(tmp_path, earlier_profile(), EARLIER.edition, installed)


@pytest.mark.parametrize(
    ("digest", "named", "made"),
    [
        (INSTALLED.digest, "2026.5", INSTALLED),
        (EARLIER.digest, "2026.5", EARLIER),
        (EARLIER.digest, "2026.4", INSTALLED),
        (EARLIER.digest, "", INSTALLED),
        (EARLIER.digest, "any", INSTALLED),
        (LATER.digest, "", LATER),
    ],
)
def test_the_coordinator_names_editions_within_the_agreement_only(
    digest: Sha256, named: str, made: ProtocolEdition
) -> None:
    """Where the agreement does not cover what it names, the edition installed is asked for, and the study refused."""
    agreed = EditionRange(first="2026.5", signed=LATER.edition, last=LATER.edition)
    values = {"protocol": "ricord", "protocol_digest": LATER.digest, "editions": agreed}
    terms = AgreementTerms.model_construct(**values)  # type: ignore[arg-type]
    assert edition_of(terms, digest, named, installed=INSTALLED) == made
