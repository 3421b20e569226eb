"""Which objects may go on: the allowed kinds, without signs of text in the pixels, of the study's own patient."""

from shared.protocol.profile import Profile
from site_node.deidentify.characters import decode, encodings_of
from site_node.deidentify.encapsulated import FAMILIES, Planes, clean_frames
from site_node.deidentify.native_pixels import SHAPE_FACTS, frames_of, number_of
from site_node.deidentify.reasons import unsupported
from site_node.dicom.elements import Elements, ParsedFile, bytes_of
from site_node.study import Identity

_PADDING = " \0"
_OVERLAYS = range(0x60000000, 0x60200000, 0x00020000)
_BITS, _POSITION = 0x0100, 0x0102  # OverlayBitsAllocated, OverlayBitPosition
INSTANCE, BIRTH_DATE, PATIENT_AGE = 0x00080018, 0x00100030, 0x00101010
_REGIONS, _OFFSETS = 0x00186011, 0x7FE00001  # SequenceOfUltrasoundRegions, ExtendedOffsetTable
# What a file says of itself: kind, signs of text in its pixels, patient, age, study, shape of the pixels,
# earlier method.
FACTS = frozenset(
    {0x00080005, 0x00080008, 0x00080016, INSTANCE, 0x00080020, 0x00080064, 0x00100020, BIRTH_DATE,
     PATIENT_AGE, 0x00120064, _REGIONS, 0x0020000D, 0x0020000E, 0x00280301, _OFFSETS}
    | SHAPE_FACTS
    | {base | place for base in _OVERLAYS for place in (_BITS, _POSITION)}
)  # fmt: skip


def kind_of(dataset: Elements, profile: Profile, *, searched: bool = False) -> str:
    """The short name of an allowed kind. Raises `DicomUnsupported` for one that may not go on by itself.

    `searched`: the pixels are searched for text later, so a file with BurnedInAnnotation YES may go on to that search.
    """
    sop_class = _word(dataset, 0x00080016)
    if sop_class in profile.quarantine.sop_classes:
        raise unsupported("kind-may-hold-text", "SOPClassUID")
    if sop_class not in profile.kinds:
        raise unsupported("kind-not-allowed", "SOPClassUID")
    if _word(dataset, 0x00280301).upper() == "YES" and not searched:
        raise unsupported("burned-in-annotation", "BurnedInAnnotation")
    image_type = {value.strip(_PADDING).upper() for value in _word(dataset, 0x00080008).split("\\")}
    if image_type & profile.quarantine.image_type:
        raise unsupported("screen-or-report", "ImageType")
    if _word(dataset, 0x00080064) in profile.quarantine.conversion_type:
        raise unsupported("screen-or-report", "ConversionType")
    if _REGIONS in dataset:
        raise unsupported("ultrasound-region", "SequenceOfUltrasoundRegions")
    if any(_overlay_in_pixels(dataset, base) for base in _OVERLAYS):
        raise unsupported("overlay-in-pixels", "OverlayBitPosition")
    return profile.kinds[sop_class]


def check_subject(dataset: Elements, identity: Identity, study_instance_uid: str) -> None:
    """Raise `DicomUnsupported` unless the file's own patient and study are those it was received under."""
    encodings = encodings_of(bytes_of(dataset, 0x00080005))
    own = decode(bytes_of(dataset, 0x00100020), encodings).strip(_PADDING)
    if not own:
        raise unsupported("no-identity", "PatientID")
    if own != identity.patient_id.strip(_PADDING):
        raise unsupported("other-patient", "PatientID")
    if _word(dataset, 0x0020000D) != study_instance_uid.strip(_PADDING):
        raise unsupported("other-study", "StudyInstanceUID")


def cleaned_frames(parsed: ParsedFile, content: bytes) -> bytes:
    """Compressed pixel data freed of all that no decoder needs; raises `DicomUnsupported` unless they are whole."""
    facts, family = parsed.facts, FAMILIES[parsed.syntax]
    rows, columns, bits = (number_of(facts, tag) for tag in (0x00280010, 0x00280011, 0x00280100))
    planes = Planes(-(-bits // 8) * (number_of(facts, 0x00280002) or 1), -(-rows * columns * min(bits, 8) // 8))
    return clean_frames(content, family, frames_of(facts), planes, extended=_OFFSETS in facts)


def _overlay_in_pixels(dataset: Elements, base: int) -> bool:
    """An overlay of more than one allocated bit, or at another place than bit 0, lies in the pixels (PS3.3 C.9.2)."""
    return number_of(dataset, base | _BITS) > 1 or number_of(dataset, base | _POSITION) > 0


def _word(dataset: Elements, tag: int) -> str:
    return bytes_of(dataset, tag).decode("latin-1").strip(_PADDING)
