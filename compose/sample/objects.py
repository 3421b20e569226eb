"""DICOM objects as a scanner would write them: CT slices, radiographs, a report; conformant in their Type 1 and 2.

Everything is derived from what is passed in, so equal calls give equal bytes. No object here names a real person.
"""

import hashlib
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

Pixels = npt.NDArray[np.int16] | npt.NDArray[np.uint16] | npt.NDArray[np.uint8]

AXIAL = (1, 0, 0, 0, 1, 0)
WORD = 16  # bits allocated to a sample of two bytes
CORONAL = (1, 0, 0, 0, 0, -1)

IMPLEMENTATION = UID("2.25.197330225331262046236411520926407217013")


@dataclass(frozen=True)
class Header:
    """What every object of one series has in common; defaults are an unremarkable adult in plain ASCII.

    Dates are DICOM DA, times TM. `age` is an AS string or None to leave the attribute out.
    """

    patient_id: str = "HX-0001"
    patient_name: str = "Testington^Invented"
    birth_date: str = "19610514"
    sex: str = "F"
    age: str | None = "059Y"
    issuer: str | None = None
    charset: str | tuple[str, ...] = "ISO_IR 100"
    study_uid: str = "2.25.100"
    series_uid: str = "2.25.200"
    accession: str = "ACC0000001"
    study_date: str = "20200618"
    time: str = "101530"
    description: str = "CHEST"
    series_number: int = 1
    manufacturer: str = "Invented Imaging"
    model: str = "Model One"


def uid(*parts: object) -> str:
    """A UID under 2.25 that is the same for the same parts."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"


def ct_slice(
    pixels: Pixels,
    header: Header,
    *,
    number: int,
    position: float,
    orientation: tuple[int, ...] = AXIAL,
    thickness: float = 3.0,
    spacing: float = 2.5,
    localizer: bool = False,
) -> Dataset:
    """One CT image; `pixels` are Hounsfield units (rows, columns), `position` in mm along the slice normal."""
    dataset = _common(CTImageStorage, header, modality="CT", number=number)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"] if localizer else ["ORIGINAL", "PRIMARY", "AXIAL"]
    if orientation == CORONAL:
        dataset.ImageType = ["DERIVED", "SECONDARY", "REFORMATTED"]
    dataset.SeriesDescription = "Topogram" if localizer else "Thorax 3.0 B30f"
    dataset.BodyPartExamined = "CHEST"
    dataset.PatientPosition = "HFS"
    dataset.FrameOfReferenceUID = uid(header.study_uid, "frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.ImageOrientationPatient = list(orientation)
    dataset.ImagePositionPatient = [-160, position, 160] if orientation == CORONAL else [-160, -160, position]
    dataset.SliceThickness = thickness
    dataset.PixelSpacing = [spacing, spacing]
    dataset.KVP = 120
    dataset.AcquisitionNumber = 1
    dataset.ConvolutionKernel = "B30f"
    dataset.RescaleIntercept = -1024
    dataset.RescaleSlope = 1
    dataset.RescaleType = "HU"
    dataset.WindowCenter = -500
    dataset.WindowWidth = 1500
    _image(dataset, (pixels.astype(np.int32) + 1024).clip(0, 4095).astype(np.uint16), bits=12)
    return dataset


def radiograph(
    pixels: Pixels,
    header: Header,
    *,
    view: str = "PA",
    modality: str = "DX",
    bits: int = 12,
    inverted: bool = False,
    burned_in: str | None = "NO",
    body_part: str = "CHEST",
) -> Dataset:
    """One CR or DX film; `pixels` are unsigned (rows, columns), bright is dense unless `inverted` (MONOCHROME1)."""
    digital = modality == "DX"
    kind = DigitalXRayImageStorageForPresentation if digital else ComputedRadiographyImageStorage
    dataset = _common(kind, header, modality=modality, number=1)
    dataset.SeriesDescription = f"{body_part} {view}"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""] if digital else ["ORIGINAL", "PRIMARY"]
    dataset.BodyPartExamined = body_part
    dataset.ViewPosition = view
    dataset.PatientOrientation = ["L", "F"]
    if burned_in is not None or digital:
        dataset.BurnedInAnnotation = burned_in or "NO"
    _image(dataset, pixels, bits=bits)
    if inverted:
        dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.WindowCenter = 2 ** (bits - 1)
    dataset.WindowWidth = 2**bits
    if digital:
        _digital(dataset, inverted=inverted)
    return dataset


def structured_report(header: Header, text: str) -> Dataset:
    """A basic text report in one line; no pixels."""
    dataset = _common(UID("1.2.840.10008.5.1.4.1.1.88.11"), header, modality="SR", number=1)
    dataset.SeriesDescription = "Report"
    dataset.CompletionFlag = "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.ContentDate, dataset.ContentTime = header.study_date, header.time
    dataset.ValueType = "CONTAINER"
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.ConceptNameCodeSequence = [code("18782-3", "LN", "Radiology Study observation")]
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "TEXT"
    item.ConceptNameCodeSequence = [code("121071", "DCM", "Finding")]
    item.TextValue = text
    dataset.ContentSequence = [item]
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = []
    return dataset


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """One item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def write(dataset: Dataset, path: Path, syntax: UID = ExplicitVRLittleEndian, *, preamble: bytes = b"\0" * 128) -> Path:
    """Write a file in any transfer syntax pydicom can write; `dataset` itself stays as it was."""
    copy = Dataset()
    copy.update(dataset)  # shallow; compressing and swapping change the pixel element, so that one is copied
    if "PixelData" in copy:
        copy["PixelData"] = deepcopy(dataset["PixelData"])
    copy.file_meta = FileMetaDataset()
    copy.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    copy.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    copy.file_meta.ImplementationClassUID = IMPLEMENTATION
    copy.preamble = preamble
    compressed = syntax in (RLELossless, JPEG2000Lossless)
    copy.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if compressed else syntax
    if compressed and "PixelData" in copy:
        copy.compress(syntax, generate_instance_uid=False)
    if syntax == ExplicitVRBigEndian and copy.get("BitsAllocated") == WORD:
        copy.PixelData = np.frombuffer(copy.PixelData, dtype="<u2").astype(">u2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    copy.save_as(path, enforce_file_format=True)
    return path


def _common(kind: UID, header: Header, *, modality: str, number: int) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = header.charset if isinstance(header.charset, str) else list(header.charset)
    dataset.SOPClassUID = kind
    dataset.SOPInstanceUID = uid(header.study_uid, header.series_uid, number)
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = header.study_date
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = header.time
    dataset.AccessionNumber = header.accession
    dataset.Modality = modality
    dataset.Manufacturer = header.manufacturer
    dataset.ManufacturerModelName = header.model
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = header.description
    dataset.PatientName = header.patient_name
    dataset.PatientID = header.patient_id
    if header.issuer is not None:
        dataset.IssuerOfPatientID = header.issuer
    dataset.PatientBirthDate = header.birth_date
    dataset.PatientSex = header.sex
    if header.age is not None:
        dataset.PatientAge = header.age
    dataset.StudyInstanceUID = header.study_uid
    dataset.SeriesInstanceUID = header.series_uid
    dataset.StudyID = "1"
    dataset.SeriesNumber = header.series_number
    dataset.InstanceNumber = number
    return dataset


def _image(dataset: Dataset, pixels: Pixels, *, bits: int) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = 0
    raw = pixels.tobytes()
    dataset.add_new(0x7FE00010, "OW" if dataset.BitsAllocated == WORD else "OB", raw + b"\0" * (len(raw) % 2))


def _digital(dataset: Dataset, *, inverted: bool) -> None:
    """What the DX modules ask for beyond CR (PS3.3 A.26)."""
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.Laterality = ""
    dataset.AnatomicRegionSequence = [code("51185008", "SCT", "Chest")]
    dataset.ImageLaterality = "U"
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = -1 if not inverted else 1
    dataset.RescaleIntercept = 0
    dataset.RescaleSlope = 1
    dataset.RescaleType = "US"
    dataset.LossyImageCompression = "00"
    dataset.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    dataset.ImagerPixelSpacing = [1.4, 1.4]
    dataset.DetectorType = "SCINTILLATOR"
    dataset.AcquisitionContextSequence = []
