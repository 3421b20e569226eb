"""What validation can find, by name. A finding never holds a value."""

from types import MappingProxyType

from shared.frozen import Frozen
from site_node.study import Reason, Severity

MESSAGES = MappingProxyType(
    {
        # the file by itself
        "structure": "the file cannot be walked from beginning to end",
        "preamble": "the 128 bytes before the data are not zero",
        "file-meta": "the file meta information holds more than what is needed, or does not fit the data set",
        "transfer-syntax": "the transfer syntax is none that is written here",
        "order": "elements are doubled or not in order",
        "group-length": "a group length or command element is there",
        "not-listed": "an element is there that the profile does not keep",
        "private": "a private element is there that is not this programme's own",
        "not-emptied": "an element that the profile empties holds a value",
        "not-marked": "the marks of de-identification are missing or wrong",
        "foreign-uid": "a UID is neither the Standard's nor this site's",
        "uid-in-text": "a text holds a UID",
        "pseudonym": "patient name and ID are not this site's pseudonym",
        "age": "an age over 89 is not capped",
        "denied-text": "a description holds text that the profile's deny list cuts",
        "vr": "an element has another value representation than the profile says",
        "value-form": "a value has not the form that its representation asks for",
        "unread": "a table that the picture does not use, or more numbers than the attribute may have",
        "pixel-comment": "a compressed frame carries a comment or application segment",
        "pixel-structure": "the pixel data are broken",
        # against the source
        "source": "the source file cannot be read again, or is not what was received",
        "no-identity": "the study has no patient identity to check against",
        "account": "instances of the study are neither written nor left out, or are both",
        "file": "a written file is not what the stage before says of it",
        "extra-file": "the output folder holds a file that no instance accounts for",
        "names": "the study's, series' or instance's new identifier is not the mapped one",
        "added": "an element is there that its source has not",
        "changed": "a kept element is not as in its source",
        "uid-mapping": "a UID is not the one that this site's key gives",
        "patient-mapping": "the patient's pseudonym is not the one that this site's key gives",
        "accession-mapping": "the accession number is not the one that this site's key gives",
        "date-shift": "a date is not shifted by the patient's own shift",
        "pixels": "the pixel data are not those of the source",
        "blanking": "what a person had blanked is not black and even, or the file does not say what was done",
        "type-1-2": "a required attribute is missing or empty that the source has",
        "residual-identifier": "a name or number of the patient is left",
        "residual-other": "a name of a person, place or device of the source is left",
        "residual-uid": "a UID of the source is left",
        "residual-birth-date": "the birth date is left",
        "residual-date": "a date of the source is left as it was",
        "residual-bytes": "bytes of an identifier are left outside the elements searched as text",
        "clinical-identifier": "the clinical row holds an identifier of the patient",
        "clinical-text": "the clinical row holds free text or a date that cannot be a shifted one",
    }
)
# A form error that the source has as well is not ours and is only counted.
INHERITABLE = frozenset({"vr", "value-form"})


class Finding(Frozen):
    """One finding: a code of `MESSAGES`, and the attribute (keyword, or `gggg,eeee`) it rests on."""

    code: str
    attribute: str | None = None

    @property
    def reason(self) -> Reason:
        """The finding as the study's reason to stop."""
        message = MESSAGES[self.code]
        sentence = f"{message[:1].upper()}{message[1:]}."
        return Reason(
            code=f"validate-{self.code}", message=sentence, severity=Severity.REJECT, attribute=self.attribute
        )
