"""The stages of a site, composed from its settings, protocol, clinical sheets and membership."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from shared.agreement import Mode
from shared.crypto.keys import load_secret, load_signing
from shared.errors.protocol import EditionNotCovered
from shared.errors.trust import NotEnrolled
from shared.ids import Uid
from shared.protocol.loader import Protocol, load_protocol
from site_node.blanking import Blanking
from site_node.clinical.matching import JoinedRows, match_row
from site_node.clinical.release import deidentify_row
from site_node.clinical.sheet import ClinicalSheet, study_keys
from site_node.clinical.sheet_store import SheetStore
from site_node.dicom.attributes import read_attributes
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.home.library import SERIES_ATTRIBUTES, LibraryInstance, LibraryStudy, add_study, series_of
from site_node.home.secret import check_secret
from site_node.membership.record import Membership
from site_node.node.stages import Inspect, Stages
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.pseudonyms.names import KeyedNames
from site_node.screen.decide import screen
from site_node.settings.site import SiteSettings
from site_node.study import (
    ClinicalRow,
    Deidentified,
    DeidentifiedInstance,
    Excluded,
    Included,
    NoRowReason,
    Received,
    Refused,
    Review,
    Sealed,
    Validated,
)

if TYPE_CHECKING:
    from site_node.pixels.inspect import Checker
    from site_node.submit.client import Submit


@dataclass(frozen=True)
class SiteStages:
    """The pipeline's stages, bound to one site. `membership` is `None` before enrolment."""

    home: SiteHome
    settings: SiteSettings
    ledger: Ledger
    membership: Membership | None

    @cached_property
    def protocol(self) -> Protocol:
        """The protocol of the settings; raises `ProtocolInvalid`."""
        return load_protocol(self.settings.protocol)

    @cached_property
    def names(self) -> KeyedNames:
        """The names of studies and the tokens of patients; raises what `pseudonyms` raises but `NotEnrolled`."""
        return KeyedNames(self._secret)

    @cached_property
    def pseudonyms(self) -> Pseudonyms:
        """The site's pseudonyms, with patients numbered by the ledger.

        Raises `NotEnrolled`, and `KeyFileInvalid` when the secret is not the one that this ledger was begun with.
        """
        if self.membership is None:
            raise NotEnrolled(folder=str(self.home.folder))
        return Pseudonyms(self._secret, self.membership.site_id, self.ledger)

    @property
    def sheets(self) -> tuple[ClinicalSheet, ...]:
        """Every clinical sheet in use, the latest first; one imported meanwhile is among them."""
        return self._read_sheets(tuple(self.ledger.sheets.all().items()))

    @cached_property
    def _read_sheets(self) -> Callable[[tuple[tuple[str, int], ...]], tuple[ClinicalSheet, ...]]:
        """Reads the sheets of imports, anew only after another import."""

        @lru_cache(maxsize=1)
        def read(imports: tuple[tuple[str, int], ...]) -> tuple[ClinicalSheet, ...]:
            sheets = SheetStore(self.home.clinical).read_all([name for name, _ in imports], self.protocol.clinical)
            return tuple(sheet for _, sheet in sheets)

        return read

    @cached_property
    def _secret(self) -> bytes:
        secret = load_secret(self.home.pseudonym_key)
        check_secret(secret, self.ledger, self.home.pseudonym_key)
        return secret

    @property
    def joined(self) -> JoinedRows:
        """The row that each study had when it was screened."""
        return JoinedRows(self.home.clinical / "joined", self.ledger.token)

    def row(self, study: Received) -> ClinicalRow | NoRowReason:
        """The clinical row of a study, from the latest sheet that has one, or why there is none."""
        return row_for(study, self.sheets)

    def available(self, checker: "Checker", submit: "Submit | None" = None) -> Stages:
        """The stages that are open: before enrolment only the screen; sealing if the agreement covers submission.

        `checker` searches pixels for text, unless the settings switch that off.
        Where the agreement does not cover the edition installed, only studies that are sealed go on.
        """
        if self.membership is None:
            return Stages(screen=self._screen)
        covered, version = Mode.SUBMIT in self.membership.modes, self.membership.agreement_version
        submit = submit if covered else None
        try:
            self.membership.check_covers(self.protocol.named)
        except EditionNotCovered as error:
            obstacle = error  # the name of an exception ends with its clause
            return Stages(screen=self._screen, submit=submit, obstacle=lambda: obstacle)
        return Stages(
            screen=self._screen,
            deidentify=self._deidentify,
            is_outdated=self._is_outdated,
            inspect=inspector(checker, self.home.quarantine) if self.settings.pixel_check else None,
            validate=self._validate,
            add_to_library=self._add_to_library if self.settings.library else None,
            seal=self._sealer(self.membership) if covered else None,
            submit=submit,
            is_of_another_edition=lambda sealed: sealed.manifest.manifest.protocol_digest != self.protocol.digest,
            is_superseded=lambda sealed: sealed.manifest.manifest.agreement_version < version,
        )

    def _screen(self, study: Received, released: frozenset[str]) -> Included | Review | Excluded:
        """Screen with the clinical row; a study without one waits until a sheet with its row is imported."""
        criteria, row = self.protocol.criteria, self.row(study)
        self.joined.note(study.key, None if isinstance(row, NoRowReason) else row)
        return screen(study, criteria=criteria, clinical=row, clinical_checked=True, released=released)

    def _deidentify(self, study: Included, out: Path, blank: Blanking | None) -> Deidentified | Refused:
        from site_node.deidentify.study import deidentify

        row, identity = self.row(study.study), study.study.identity
        clinical = None
        if not isinstance(row, NoRowReason) and identity is not None:
            clinical = deidentify_row(
                row, dictionary=self.protocol.clinical, pseudonyms=self.pseudonyms, identity=identity
            )
        profile, pseudonyms, words = self.protocol.profile, self.pseudonyms, self.ledger.words(self.names)
        return deidentify(
            study,
            profile=profile,
            pseudonyms=pseudonyms,
            out=out,
            clinical=clinical,
            blank=blank,
            searched=self.settings.pixel_check,
            accepted=words.accepted(),
            keep=words.keep,
        )

    def _is_outdated(self, study: Deidentified) -> bool:
        """Whether another profile made the study, or it has a word that was taken from the list since."""
        if study.profile_digest != self.protocol.profile.digest:
            return True
        return not self.ledger.words(self.names).accepted().words.issuperset(study.accepted)

    def _validate(
        self, source: Included, output: Deidentified, report: Path, blank: Blanking | None
    ) -> Validated | Refused:
        from site_node.validate.validation import validate

        return validate(
            source,
            output,
            profile=self.protocol.profile,
            pseudonyms=self.pseudonyms,
            report=report,
            blank=blank,
            searched=self.settings.pixel_check,
            accepted=self.ledger.words(self.names).accepted(output.accepted_version),
        )

    def _add_to_library(self, study: Validated) -> None:
        rest = study.without(self.ledger.withdrawals.instances(study.study.study_instance_uid))
        if rest.study.instances:
            add_study(self.home.library, *library_record(rest))

    def _sealer(self, membership: Membership) -> Callable[[Validated, int], Sealed]:
        """Seal to the curator that the agreement names, and to no other."""
        from site_node.seal.package import seal

        signing_key = load_signing(self.home.signing_key)
        return lambda study, sequence: seal(
            study,
            outbox=self.home.outbox,
            site_id=membership.site_id,
            agreement=membership.agreement,
            agreement_version=membership.agreement_version,
            recipient=membership.recipient,
            protocol_digest=self.protocol.digest,
            sequence=sequence,
            signing_key=signing_key,
        )


def inspector(checker: "Checker", pictures: Path | None) -> Inspect:
    """The pixel stage as the pipeline calls it; pictures that frame the text found are written to `pictures`."""
    from site_node.pixels.inspect import inspect

    return lambda study, released: inspect(study, released, checker=checker, pictures=pictures) or study


def row_for(study: Received, sheets: Sequence[ClinicalSheet]) -> ClinicalRow | NoRowReason:
    """The clinical row of a study, from the first sheet that has one, or why there is none."""
    match = match_row(join_keys(study), sheets)
    return match if isinstance(match, NoRowReason) else match[1]


def join_keys(study: Received) -> dict[str, str]:
    """The identifiers by which a study joins its row, as in its files. PHI."""
    patient = study.identity.patient_id if study.identity else None
    accession = read_attributes(study.instances[0].path, "AccessionNumber").get("AccessionNumber")
    return study_keys(patient_id=patient, accession=accession, study_uid=study.study_instance_uid)


def library_record(study: Validated) -> tuple[LibraryStudy, dict[str, Path]]:
    """The library's record of a validated study, and the file for each name in it."""
    output = study.study
    by_series: dict[Uid, list[DeidentifiedInstance]] = {}
    for instance in output.instances:
        by_series.setdefault(instance.series_instance_uid, []).append(instance)
    series = tuple(
        series_of(uid, len(members), read_attributes(members[0].path, *SERIES_ATTRIBUTES))
        for uid, members in sorted(by_series.items())
    )
    names = {
        instance: f"{instance.series_instance_uid}/{instance.sop_instance_uid}.dcm" for instance in output.instances
    }
    record = LibraryStudy(
        study=output.study_instance_uid,
        patient=output.patient,
        study_date=read_attributes(output.instances[0].path, "StudyDate").get("StudyDate", ""),
        modalities=tuple(sorted({entry.modality for entry in series})),
        series=series,
        instances=tuple(
            LibraryInstance(
                file=name,
                sop_instance_uid=instance.sop_instance_uid,
                series=instance.series_instance_uid,
                sha256=study.digests[instance.sop_instance_uid],
            )
            for instance, name in names.items()
        ),
        clinical=output.clinical,
    )
    return record, {name: instance.path for instance, name in names.items()}
