"""Made-up libraries of studies for tests of counting and pooling."""

import random
from collections.abc import Sequence
from pathlib import Path

from shared.ids import PatientPseudonym, Sha256, SiteId, Uid
from site_node.home.library import LibraryInstance, LibrarySeries, LibraryStudy

Clinical = dict[str, str | int | float | None]


def study(
    number: str,
    patient: str,
    *,
    date: str = "20200301",
    series: Sequence[tuple[str, int, str, float | None]] = (("DX", 1, "Philips", None),),
    clinical: Clinical | None = None,
) -> LibraryStudy:
    """A study; `series` holds (modality, images, manufacturer, slice thickness)."""
    uid = Uid(f"1.2.{number}")
    return LibraryStudy(
        study=uid,
        patient=PatientPseudonym(patient),
        study_date=date,
        modalities=tuple(sorted({modality for modality, *_ in series})),
        series=tuple(
            LibrarySeries(
                uid=Uid(f"{uid}.{place}"),
                modality=modality,
                instance_count=images,
                manufacturer=manufacturer,
                slice_thickness=thickness,
            )
            for place, (modality, images, manufacturer, thickness) in enumerate(series, start=1)
        ),
        instances=(
            LibraryInstance(file="x.dcm", sop_instance_uid=uid, series=Uid(f"{uid}.1"), sha256=Sha256("0" * 64)),
        ),
        clinical=clinical,
    )


def library(site: SiteId, patients: int, seed: int = 0) -> list[LibraryStudy]:
    """Patients with one to five studies each, of every kind there is."""
    draw = random.Random(f"{site} {seed}")
    studies = []
    for patient in range(patients):
        sex = draw.choice(["F", "M", "F", "M", "O", None])
        age = draw.choice([None, *range(18, 91)])
        for repeat in range(draw.choices([1, 2, 3, 5], [80, 12, 5, 3])[0]):
            modality = draw.choice(["CT", "CR", "DX"])
            described = (modality, draw.randrange(1, 60), draw.choice(["SIEMENS", "GE MEDICAL SYSTEMS", "Acme", ""]))
            thickness = draw.choice([0.6, 1.0, 2.5, 5.0, 7.0, None]) if modality == "CT" else None
            status, method = (
                draw.choice(["positive", "negative"]),
                draw.choice(["rt-pcr", "serology", "clinical", None]),
            )
            clinical: Clinical = {"sex": sex, "age": age, "covid_status": status, "covid_method": method}
            studies.append(
                study(
                    f"{site}.{patient}.{repeat}",
                    f"{site}-{patient + 1:06}",
                    date=f"202003{draw.randrange(1, 29):02}",
                    series=[(*described, thickness)] * draw.choice([1, 1, 2]),
                    clinical=clinical if draw.random() < 0.9 else None,
                )
            )
    return studies


def by_the_sheet(draw: random.Random, patients: int) -> list[LibraryStudy]:
    """Patients who keep to the criteria, with rows filled in as the clinical sheet means them."""
    studies = []
    for patient in range(patients):
        person: Clinical = {"sex": draw.choice("FFFFFMMMMMO"), "age": draw.randint(18, 90)}
        for repeat in range(draw.choices([1, 2, 3, 5], [80, 12, 5, 3])[0]):
            status = draw.choices(["positive", "negative", "pending"], [60, 30, 4])[0]
            methods = ["rt-pcr", "serology", *(["clinical"] if status == "positive" else [])]
            clinical = person | {
                "covid_status": status,
                "covid_method": draw.choices(methods, [80, 10, 10][: len(methods)])[0],
            }
            clinical["finding"] = draw.choice(["no-finding", "covid-19", "other"])
            if status == "positive" and draw.random() < 0.97:
                clinical["covid_timing"] = "during-admission"
            if status == "negative" and draw.random() < 0.95:
                clinical["alternative_diagnosis"] = "none"
            clinical |= {field: "1" for field in ("test_date", "icu", "outcome", "crp") if draw.random() < 0.8}
            modality = draw.choices(["CT", "CR", "DX"], [50, 30, 20])[0]
            thickness = draw.choice([1.0, 2.5, 5.0, 7.0]) if modality == "CT" else None
            described = (
                modality,
                draw.randint(1, 50),
                draw.choice(["SIEMENS", "GE MEDICAL", "Philips", "Acme"]),
                thickness,
            )
            studies.append(
                study(
                    f"100001.{patient}.{repeat}",
                    f"100001-{patient + 1:06}",
                    date=f"202003{draw.randint(1, 28):02}",
                    series=[described] * draw.choice([1, 1, 2]),
                    clinical=clinical,
                )
            )
    return studies


def write(folder: Path, studies: Sequence[LibraryStudy]) -> Path:
    """Put records into a library folder, without images."""
    for record in studies:
        (folder / record.study).mkdir(parents=True)
        (folder / record.study / "study.json").write_text(record.model_dump_json())
    return folder
