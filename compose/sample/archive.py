"""The studies of one invented hospital, written one after another into its archive."""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from compose.sample import films, identifiers, objects, volumes
from compose.sample.films import Attenuation, Scanner
from compose.sample.people import Hospital, Person, invent
from compose.sample.sheet import Row
from compose.sample.summary import ExpectedStudy
from site_node.study import Ending

FILM, SLICE, SLICES = 256, 128, 14  # pixels of a side; images of a CT series
_SYNTAXES = {
    1: ImplicitVRLittleEndian,
    3: DeflatedExplicitVRLittleEndian,
    5: ExplicitVRBigEndian,
    7: RLELossless,
    9: JPEG2000Lossless,
}
_SYNTAX_CYCLE = 12
_SCANNERS = {
    1: Scanner(gain=0.8, level=0.1, contrast=1.0, noise=0.03),
    2: Scanner(gain=0.55, level=0.3, contrast=1.4, noise=0.04, inverted=True, modality="CR"),
    3: Scanner(gain=0.9, level=0.02, contrast=0.75, noise=0.05),
}
_VENDORS = {
    1: (("SIEMENS", "Invented Ysio"), ("Agfa-Gevaert AG", "Invented DX-D")),
    2: (("FUJIFILM Corporation", "Invented FCR"), ("Philips Medical Systems", "Invented Diagnost")),
    3: (("GE MEDICAL SYSTEMS", "Invented Revolution"), ("Philips Medical Systems", "Invented Ingenuity")),
}
_KERNELS = {1: "B30f", 2: "B", 3: "STANDARD"}
_METHODS = ("rt-pcr", "rt-pcr", "serology", "clinical")


@dataclass
class Archive:
    """An archive while it is written, and its expected outcome so far."""

    root: Path
    hospital: Hospital
    rng: np.random.Generator
    seed: int
    people: list[Person] = field(default_factory=list)
    studies: list[ExpectedStudy] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    planted: set[str] = field(default_factory=set)
    burned_in: list[str] = field(default_factory=list)
    files: int = 0

    def person(self, *, age: int | None = None) -> Person:
        """A new patient."""
        self.people.append(invent(self.hospital, len(self.people), self.rng, age=age))
        return self.people[-1]

    def film(
        self,
        person: Person,
        visit: int,
        label: str,
        *,
        ending: Ending = Ending.SUBMITTED,
        code: str | None = None,
        text: str | None = None,
        burned_in: str | None = "NO",
        lateral: bool = False,
        planted: bool = False,
        row: bool = True,
        **changes: object,
    ) -> Path:
        """A frontal film in a study of its own, with `text` burned in; `changes` set (or, None, delete) attributes."""
        image = films.frontal(self.rng, FILM, positive=person.positive)
        if text is not None:
            image = films.mark(image, text, (0.05, 0.04), 0.07)
        header = self._header(person, visit, label)
        views = "AP" if len(self.studies) % 3 == 0 else "PA"
        dataset = changed(self._radiograph(image, header, view=views, burned_in=burned_in), changes)
        self._expect(header, label, ending, code, left_out=int(lateral))
        if row:
            self.rows.append(clinical_row(person, visit))
        if lateral:
            side = replace(header, series_uid=objects.uid(header.study_uid, "lateral"), series_number=2)
            self.save(self._radiograph(films.lateral(self.rng, FILM), side, view="LL"))
        return self.save(dataset, person=person if planted else None, visit=visit)

    def lateral(self, person: Person, visit: int) -> None:
        """A study of one lateral film."""
        header = self._header(person, visit, "lateral only")
        self.save(self._radiograph(films.lateral(self.rng, FILM), header, view="LL"))
        self._expect(header, "lateral only", Ending.EXCLUDED, "view")
        self.rows.append(clinical_row(person, visit))

    def abdomen(self, person: Person, visit: int) -> None:
        """A film of the abdomen under its own name."""
        header = replace(self._header(person, visit, "abdomen"), description="XR ABDOMEN")
        image = films.expose(films.abdomen(self.rng, FILM), replace(self._scanner, inverted=False), self.rng)
        self.save(objects.radiograph(image, header, view="AP", modality="CR", body_part="ABDOMEN"))
        self._expect(header, "abdomen", Ending.EXCLUDED, "region")
        self.rows.append(clinical_row(person, visit))

    def report(self, person: Person, visit: int) -> None:
        """A structured report, a study of its own."""
        header = self._header(person, visit, "report")
        self.save(objects.structured_report(header, f"{person.family} has a clear chest."))
        self._expect(header, "report", Ending.EXCLUDED, "modality")
        self.rows.append(clinical_row(person, visit))

    def ct(self, person: Person, visit: int, syntax: UID, *, planted: bool) -> None:
        """A chest CT: a scout, an axial series, a coronal reformat."""
        chest = volumes.chest(self.rng, size=SLICE, slices=SLICES, positive=person.positive)
        base = replace(self._header(person, visit, "ct"), description="CT THORAX")
        series = {
            name: replace(base, series_uid=objects.uid(base.study_uid, name), series_number=number)
            for number, name in enumerate(("scout", "axial", "coronal"), start=1)
        }
        coronal = chest.coronal(5)
        images = [
            objects.ct_slice(chest.scout(), series["scout"], number=1, position=0, orientation=objects.CORONAL,
                             localizer=True),
            *(objects.ct_slice(pixels, series["axial"], number=at, position=3.0 * at)
              for at, pixels in enumerate(chest.axial, start=1)),
            *(objects.ct_slice(pixels, series["coronal"], number=at, position=8.0 * at, orientation=objects.CORONAL)
              for at, pixels in enumerate(coronal, start=1)),
        ]  # fmt: skip
        images[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        for image in images:
            image.ConvolutionKernel = _KERNELS[self.hospital.number]
            self.save(image, syntax, person=person if planted else None, visit=visit)
        self._expect(base, "ct", Ending.SUBMITTED, None, left_out=1 + len(coronal))
        self.rows.append(clinical_row(person, visit))

    def save(
        self, dataset: Dataset, syntax: UID | None = None, *, person: Person | None = None, visit: int = 0
    ) -> Path:
        """Write one file under the next name, with the secrets of `person` planted in it."""
        preamble = b"\0" * 128
        if person is not None:
            secrets = person.secrets(visit)
            self.planted.update(identifiers.plant(dataset, secrets))
            preamble = f"{secrets.family} {secrets.patient_id}".encode().ljust(128, b" ")
        else:
            identifiers.mark_vendor(dataset)
        if syntax is None:
            syntax = _SYNTAXES.get(self.files % _SYNTAX_CYCLE, ExplicitVRLittleEndian)
        if "PixelData" not in dataset:
            syntax = ExplicitVRLittleEndian
        return objects.write(dataset, self._name(), syntax, preamble=preamble)

    def copy(self, file: Path) -> None:
        """The same file once more, under another name."""
        shutil.copyfile(file, self._name())

    def cut_off(self, file: Path) -> None:
        """A file that ends before its pixels do."""
        content = file.read_bytes()
        self._name().write_bytes(content[: len(content) * 2 // 3])

    def text_file(self) -> None:
        """A text that bears the name of a DICOM file."""
        self._name().write_text("Please scan this patient again on Monday.\n" * 20, encoding="utf-8")

    @property
    def _scanner(self) -> Scanner:
        return _SCANNERS[self.hospital.number]

    def _header(self, person: Person, visit: int, label: str) -> objects.Header:
        study = objects.uid("sample", self.seed, self.hospital.number, person.number, visit, label)
        manufacturer, model = _VENDORS[self.hospital.number][person.number % 2]
        return replace(
            person.header(study, visit),
            series_uid=objects.uid(study, "film"),
            manufacturer=manufacturer,
            model=model,
            description="XR CHEST",
        )

    def _radiograph(
        self, image: Attenuation, header: objects.Header, *, view: str, burned_in: str | None = "NO"
    ) -> Dataset:
        scanner = self._scanner
        modality = "CR" if burned_in is None else scanner.modality  # DX requires BurnedInAnnotation
        return objects.radiograph(
            films.expose(image, scanner, self.rng), header, view=view, modality=modality, bits=scanner.bits,
            inverted=scanner.inverted, burned_in=burned_in,
        )  # fmt: skip

    def _expect(
        self, header: objects.Header, label: str, ending: Ending, code: str | None, *, left_out: int = 0
    ) -> None:
        self.studies.append(
            ExpectedStudy(study_instance_uid=header.study_uid, label=label, ending=ending, code=code, left_out=left_out)
        )

    def _name(self) -> Path:
        """A path as archives have them: a folder of some files, a name without meaning."""
        self.files += 1
        path = self.root / f"{self.files // 40:03d}" / f"IM{self.files:05d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def changed(dataset: Dataset, changes: dict[str, object]) -> Dataset:
    """`dataset` with attributes set by keyword; None deletes."""
    for keyword, value in changes.items():
        if value is None:
            dataset.pop(keyword, None)
        else:
            setattr(dataset, keyword, value)
    return dataset


def clinical_row(person: Person, visit: int) -> Row:
    """The sheet's row for one exam. One positive patient in five has a pneumonia that is not COVID-19."""
    covid = person.positive and person.number % 10 != 0
    day = person.study_date(visit)
    return {
        "mrn": person.patient_id,
        "accession": person.accession(visit),
        "covid_status": "positive" if covid else "negative",
        "covid_method": _METHODS[person.number // 2 % len(_METHODS)] if covid else "rt-pcr",
        "covid_timing": "during-admission" if covid else None,
        "test_date": day,
        "age": person.age,
        "sex": person.sex,
        "finding": "covid-19" if covid else "bacterial-pneumonia" if person.positive else "no-finding",
        "pneumonia": "yes" if person.positive else "no",
        "alternative_diagnosis": None if covid else "bacterial-pneumonia" if person.positive else "none",
        "comment": f"{person.given} {person.family}, call the ward",
    }
