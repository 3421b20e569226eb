"""Plants identifiers where hospitals leave them: every text attribute, sequences, private blocks, overlays.

Each planted text is returned, so that a test can search for it in everything that leaves the hospital.
"""

from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items


@dataclass(frozen=True)
class Secrets:
    """What could name one invented patient. `family` and `given` are in Latin letters, at least five each."""

    family: str
    given: str
    patient_id: str
    accession: str
    birth_date: str
    institution: str
    physician: str
    address: str
    phone: str

    def all(self) -> tuple[str, ...]:
        """Every text to search for, in the forms they are planted in."""
        year, month, day = self.birth_date[:4], self.birth_date[4:6], self.birth_date[6:]
        names = (self.family, self.given, self.physician)
        return (
            *names, *(name.upper() for name in names), *(name.lower() for name in names),
            self.patient_id, self.accession, self.birth_date, f"{day}.{month}.{year}", f"{year}-{month}-{day}",
            self.institution, self.address, self.phone,
        )  # fmt: skip


_VENDORS = {
    "SIEMENS": ("SIEMENS MED NM", 0x0029),
    "GE MEDICAL SYSTEMS": ("GEMS_PARM_01", 0x0043),
    "Philips Medical Systems": ("Philips Imaging DD 001", 0x2001),
    "FUJIFILM Corporation": ("FDMS 1.0", 0x0009),
    "Agfa-Gevaert AG": ("Agfa ADC NX", 0x0019),
}


def plant(dataset: Dataset, secrets: Secrets) -> tuple[str, ...]:
    """Write the secrets into `dataset` everywhere but its pixels; returns the planted texts."""
    _descriptions(dataset, secrets)
    _people(dataset, secrets)
    _comments(dataset, secrets)
    _sequences(dataset, secrets)
    _private(dataset, secrets)
    _overlay(dataset, secrets)
    _later_elements(dataset)
    return secrets.all()


def mark_vendor(dataset: Dataset) -> None:
    """Private elements as the vendor's scanner writes them, with nothing of a patient in them."""
    creator, group = _vendor(dataset)
    block = dataset.private_block(group, creator, create=True)
    block.add_new(0x01, "LO", "table 7")
    block.add_new(0x02, "DS", "1.25")


def _descriptions(dataset: Dataset, secrets: Secrets) -> None:
    """Kept attributes (StudyDescription, SeriesDescription): names glued on and re-cased."""
    study, series = dataset.get("StudyDescription", ""), dataset.get("SeriesDescription", "")
    dataset.StudyDescription = f"{study} {secrets.family.upper()}{secrets.given.lower()} {secrets.accession}"[:64]
    dataset.SeriesDescription = f"{series} {secrets.family.lower()}_{secrets.given.upper()}"[:64]
    dataset.ProtocolName = f"Chest {secrets.family}"
    dataset.ImageComments = f"pt {secrets.family}, {secrets.given} dob {secrets.birth_date} tel {secrets.phone}"


def _people(dataset: Dataset, secrets: Secrets) -> None:
    dataset.InstitutionName = secrets.institution
    dataset.InstitutionAddress = secrets.address
    dataset.InstitutionalDepartmentName = f"Radiology {secrets.institution}"[:64]
    dataset.StationName = f"ST{secrets.patient_id}"[:16]
    dataset.ReferringPhysicianName = f"{secrets.physician}^A"
    dataset.PerformingPhysicianName = f"{secrets.physician}^B"
    dataset.NameOfPhysiciansReadingStudy = f"{secrets.physician}^C"
    dataset.OperatorsName = f"{secrets.physician}^D"
    dataset.OtherPatientNames = f"{secrets.family.upper()}^{secrets.given}"
    dataset.add_new(0x00101000, "LO", [secrets.patient_id, secrets.patient_id + "B"])  # retired OtherPatientIDs
    dataset.PatientBirthName = f"{secrets.family}^{secrets.given}"
    dataset.PatientMotherBirthName = f"{secrets.family}^Mother"
    dataset.PatientAddress = secrets.address
    dataset.PatientTelephoneNumbers = secrets.phone
    dataset.RequestingPhysician = f"{secrets.physician}^E"


def _comments(dataset: Dataset, secrets: Secrets) -> None:
    note = f"{secrets.given} {secrets.family} ({secrets.patient_id}) seen by {secrets.physician}"
    dataset.PatientComments = note
    dataset.AdditionalPatientHistory = f"{note}, born {secrets.birth_date}"
    dataset.Occupation = f"clerk {secrets.family}"[:16]
    dataset.AdmittingDiagnosesDescription = f"cough {secrets.family}"
    dataset.RequestedProcedureDescription = f"Chest for {secrets.family}"
    dataset.PerformedProcedureStepDescription = f"Chest {secrets.given.upper()}"
    dataset.DerivationDescription = f"copied for {secrets.physician}"
    dataset.DeviceSerialNumber = secrets.phone


def _sequences(dataset: Dataset, secrets: Secrets) -> None:
    """Three levels deep, with a private element and an original header at the bottom."""
    inner = Dataset()
    inner.PatientName = f"{secrets.family}^{secrets.given}"
    inner.PatientID = secrets.patient_id
    inner.AccessionNumber = secrets.accession
    inner.private_block(0x0011, "RIS NOTES", create=True).add_new(0x01, "LO", secrets.family)
    middle = Dataset()
    middle.RequestedProcedureDescription = f"for {secrets.physician}"
    middle.ScheduledProtocolCodeSequence = Items([_code(secrets.family), inner])
    dataset.RequestAttributesSequence = Items([middle])
    original = Dataset()
    original.ModifiedAttributesSequence = Items([inner])
    original.AttributeModificationDateTime = f"{secrets.birth_date}101112"
    original.ModifyingSystem = secrets.institution
    original.SourceOfPreviousValues = secrets.physician
    original.ReasonForTheAttributeModification = "CORRECT"
    dataset.OriginalAttributesSequence = Items([original])
    other = Dataset()
    other.PatientID = secrets.patient_id
    other.IssuerOfPatientID = secrets.institution
    other.TypeOfPatientID = "TEXT"
    dataset.OtherPatientIDsSequence = Items([other])


def _private(dataset: Dataset, secrets: Secrets) -> None:
    creator, group = _vendor(dataset)
    block = dataset.private_block(group, creator, create=True)
    block.add_new(0x08, "LO", f"{secrets.family}^{secrets.given}")
    block.add_new(0x09, "UN", f"{secrets.patient_id} {secrets.accession} ".encode())
    nested = Dataset()
    nested.PatientName = f"{secrets.family}^{secrets.given}"
    block.add_new(0x10, "SQ", Items([nested]))
    dataset.add_new((group, 0x7701), "LO", secrets.phone)  # an orphan: no creator reserves block 77


def _vendor(dataset: Dataset) -> tuple[str, int]:
    return _VENDORS.get(str(dataset.get("Manufacturer", "")), ("INVENTED VENDOR 1.0", 0x0033))


def _overlay(dataset: Dataset, secrets: Secrets) -> None:
    if "PixelData" not in dataset:
        return
    dataset.add_new(0x60000010, "US", 8)
    dataset.add_new(0x60000011, "US", 64)
    dataset.add_new(0x60000022, "LO", f"drawn by {secrets.physician}")
    dataset.add_new(0x60000040, "CS", "G")
    dataset.add_new(0x60000050, "SS", [1, 1])
    dataset.add_new(0x60000100, "US", 1)
    dataset.add_new(0x60000102, "US", 0)
    dataset.add_new(0x60001500, "LO", secrets.family)
    dataset.add_new(0x60003000, "OW", secrets.family.encode("ascii", "replace").ljust(64, b" ")[:64])


def _later_elements(dataset: Dataset) -> None:
    """After the pixels: data set trailing padding, as some archives write it (PS3.10 7.2)."""
    dataset.add_new(0xFFFCFFFC, "OB", b"\0" * 64)


def _code(meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "P1", "99LOCAL", meaning
    return item
