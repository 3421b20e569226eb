"""Invented patients: syllables that are no real name, and names in the character sets that hospitals write."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from compose.sample.identifiers import Secrets
from compose.sample.objects import Header

# Specific character set, name as PatientName holds it, and family and given name in Latin letters.
_SCRIPTS: tuple[tuple[str | tuple[str, ...], str, str, str], ...] = (
    ("ISO_IR 100", "Ångberghus^Zoëlind", "Angberghus", "Zoelind"),
    (("", "ISO 2022 IR 87"), "Morikazeno^Tsubahiko=森風野^椿彦=もりかぜの^つばひこ", "Morikazeno", "Tsubahiko"),
    (("", "ISO 2022 IR 149"), "Baekrimsu^Haneulbit=白林洙^하늘빛=백림수^하늘빛", "Baekrimsu", "Haneulbit"),
    ("GB18030", "Qinglanwu^Yunxiaohe=青岚坞^云小荷", "Qinglanwu", "Yunxiaohe"),
    ("ISO_IR 192", "Vördelmanno^Šarūnika=Вёрдельманно^Шаруника", "Vordelmanno", "Sarunika"),
    ("ISO_IR 144", "Застружинов^Маркелион", "Zastruzhinov", "Markelion"),
    ("ISO_IR 126", "Καλοθυμακης^Ερωφιλιος", "Kalothymakis", "Erofilios"),
)
_ONSETS = ("Kelst", "Vorn", "Quilb", "Drusk", "Ommel", "Frind", "Yzarb", "Plovt", "Wexn", "Jarund")
_MIDDLES = ("ru", "ogi", "ame", "ute", "ilo", "ewa", "yno", "abo")
_ENDINGS = ("pova", "thwick", "garden", "lund", "mirro", "zetti", "kvist", "dorran")
_GIVEN = ("Janik", "Oluve", "Tersab", "Mirond", "Felza", "Grunel", "Ysabri", "Kolvan")
_GIVEN_ENDINGS = ("aela", "orin", "ulfo", "ettis", "amund", "ivane")
_SCRIPT_EVERY = 4  # every fourth patient's name is not plain ASCII


@dataclass(frozen=True)
class Hospital:
    """What is common to one invented hospital's records."""

    number: int
    name: str
    address: str
    issuer: str | None
    patient_ids: str  # a format with one number
    physicians: tuple[str, ...]


HOSPITALS = (
    Hospital(1, "Quorvale Infirmary", "17 Nowhere Lane, Quorvale", None, "QV{:07d}", ("Quillfeather", "Umberhoek")),
    Hospital(2, "Brindlemoor Klinikum", "Leerstrasse 3, Brindlemoor", "BRINDLEMOOR", "00{:08d}", ("Sparrowgast",)),
    Hospital(3, "Ostrawick Hospitalet", "Ingenvej 40, Ostrawick", None, "OW-{:06d}-K", ("Fennimarch", "Dolvergren")),
)


@dataclass(frozen=True)
class Person:
    """One invented patient with the label of all films: pneumonia or none."""

    number: int
    hospital: Hospital
    charset: str | tuple[str, ...]
    name: str
    family: str
    given: str
    sex: str
    age: int  # on the first study's day
    first_study: date
    birth: date
    positive: bool

    @property
    def patient_id(self) -> str:
        """The hospital's number of the patient."""
        return self.hospital.patient_ids.format(610_007 + 1_013 * self.number)

    def study_date(self, study: int) -> date:
        """The day of the patient's `study`-th study, counted from 0."""
        return self.first_study + timedelta(days=4 * study)

    def accession(self, study: int) -> str:
        """The exam's number."""
        return f"{'ABCDEF'[study]}{self.hospital.number}{8_400_129 + 977 * self.number}"

    def header(self, study_uid: str, study: int) -> Header:
        """What the patient's objects of one study have in common."""
        return Header(
            patient_id=self.patient_id,
            patient_name=self.name,
            birth_date=f"{self.birth:%Y%m%d}",
            sex=self.sex,
            age=f"{self.age:03d}Y",
            issuer=self.hospital.issuer,
            charset=self.charset,
            study_uid=study_uid,
            accession=self.accession(study),
            study_date=f"{self.study_date(study):%Y%m%d}",
            time=f"{8 + self.number % 12:02d}{(7 * self.number) % 60:02d}30",
        )

    def secrets(self, study: int) -> Secrets:
        """What would name the patient."""
        physicians = self.hospital.physicians
        return Secrets(
            family=self.family,
            given=self.given,
            patient_id=self.patient_id,
            accession=self.accession(study),
            birth_date=f"{self.birth:%Y%m%d}",
            institution=self.hospital.name,
            physician=physicians[self.number % len(physicians)],
            address=self.hospital.address,
            phone=f"555-01{self.number % 100:02d}-{311 + self.number}",
        )


def invent(hospital: Hospital, number: int, rng: np.random.Generator, *, age: int | None = None) -> Person:
    """The `number`-th patient of a hospital; every second one is positive."""
    years = int(rng.integers(19, 89)) if age is None else age
    first = date(2020, 3, 1) + timedelta(days=int(rng.integers(0, 330)))
    birth = date(first.year - years, first.month, min(first.day, 28)) - timedelta(days=int(rng.integers(20, 300)))
    family = str(rng.choice(_ONSETS)) + str(rng.choice(_MIDDLES)) + str(rng.choice(_ENDINGS))
    given = str(rng.choice(_GIVEN)) + str(rng.choice(_GIVEN_ENDINGS))
    charset: str | tuple[str, ...] = "ISO_IR 100"
    name = f"{family}^{given}"
    if number % _SCRIPT_EVERY == 0:
        charset, name, family, given = _SCRIPTS[number // _SCRIPT_EVERY % len(_SCRIPTS)]
    sex = "FM"[int(rng.integers(0, 2))]
    return Person(number, hospital, charset, name, family, given, sex, years, first, birth, number % 2 == 0)
