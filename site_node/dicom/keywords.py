"""Tag and value representation of the attributes that grouping, identity, age and the criteria rest on (PS3.6)."""

from types import MappingProxyType

CHARACTER_SET = 0x00080005
PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})  # float, double and integer pixel data
ATTRIBUTES = MappingProxyType(
    {
        "SpecificCharacterSet": (CHARACTER_SET, "CS"),
        "ImageType": (0x00080008, "CS"),
        "SOPClassUID": (0x00080016, "UI"),
        "SOPInstanceUID": (0x00080018, "UI"),
        "StudyDate": (0x00080020, "DA"),
        "SeriesDate": (0x00080021, "DA"),
        "AcquisitionDate": (0x00080022, "DA"),
        "ContentDate": (0x00080023, "DA"),
        "Modality": (0x00080060, "CS"),
        "CodeValue": (0x00080100, "SH"),
        "CodingSchemeDesignator": (0x00080102, "SH"),
        "StudyDescription": (0x00081030, "LO"),
        "ProcedureCodeSequence": (0x00081032, "SQ"),
        "SeriesDescription": (0x0008103E, "LO"),
        "AnatomicRegionSequence": (0x00082218, "SQ"),
        "PatientID": (0x00100020, "LO"),
        "IssuerOfPatientID": (0x00100021, "LO"),
        "PatientBirthDate": (0x00100030, "DA"),
        "PatientSex": (0x00100040, "CS"),
        "PatientAge": (0x00101010, "AS"),
        "BodyPartExamined": (0x00180015, "CS"),
        "SliceThickness": (0x00180050, "DS"),
        "ProtocolName": (0x00181030, "LO"),
        "ConvolutionKernel": (0x00181210, "SH"),
        "ViewPosition": (0x00185101, "CS"),
        "CTReconstructionSequence": (0x00189314, "SQ"),
        "AcquisitionProtocolName": (0x00189423, "LO"),
        "StudyInstanceUID": (0x0020000D, "UI"),
        "SeriesInstanceUID": (0x0020000E, "UI"),
        "ImagePositionPatient": (0x00200032, "DS"),
        "ImageOrientationPatient": (0x00200037, "DS"),
        "PlanePositionSequence": (0x00209113, "SQ"),
        "PlaneOrientationSequence": (0x00209116, "SQ"),
        "RequestedProcedureCodeSequence": (0x00321064, "SQ"),
        "PixelMeasuresSequence": (0x00289110, "SQ"),
        "ViewCodeSequence": (0x00540220, "SQ"),
        "SharedFunctionalGroupsSequence": (0x52009229, "SQ"),
        "PerFrameFunctionalGroupsSequence": (0x52009230, "SQ"),
    }
)
TAGS = frozenset(tag for tag, _ in ATTRIBUTES.values())
SEQUENCES = frozenset(tag for tag, vr in ATTRIBUTES.values() if vr == "SQ")
