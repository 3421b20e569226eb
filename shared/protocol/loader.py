"""Loading the protocol: named files of the package's data folder become one frozen value with a digest.

Both sides of the wire compare digests, so the digest is over the files' bytes: SHA-256 of the canonical list of
(file, SHA-256), sorted by name.
"""

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from pydantic import Field

from shared.editions import EditionName, ProtocolEdition
from shared.errors.protocol import ProtocolInvalid, ProtocolMismatch
from shared.frozen import Frozen
from shared.ids import Sha256
from shared.protocol.annotation import AnnotationDefinition
from shared.protocol.clinical import ClinicalDictionary
from shared.protocol.cohort import CohortDefinition
from shared.protocol.criteria import Criteria
from shared.protocol.parts import parse_part
from shared.protocol.profile import Profile, digest_of, texts_of_profile

PARTS = ("clinical", "cohort", "criteria")


class Protocol(Frozen):
    """The whole protocol of one study programme."""

    name: str
    edition: str
    digest: Sha256
    criteria: Criteria
    profile: Profile
    clinical: ClinicalDictionary
    cohort: CohortDefinition

    @property
    def named(self) -> ProtocolEdition:
        """Which edition of which protocol it is."""
        return ProtocolEdition(protocol=self.name, edition=self.edition, digest=self.digest)


class _Listing(Frozen):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    edition: EditionName
    source: str
    criteria: str
    profile: str
    clinical: str
    cohort: str


@lru_cache(maxsize=4)
def load_protocol(name: str = "ricord") -> Protocol:
    """Load a protocol of this release; raises `ProtocolInvalid` when there is none of that name or a part is wrong."""
    listing, texts = _listed(name)
    return Protocol(
        name=listing.name,
        edition=listing.edition,
        digest=digest_of(texts),
        criteria=Criteria.from_toml(texts[f"criteria/{listing.criteria}"]),
        profile=Profile.from_files(_profile_texts(), file=listing.profile),
        clinical=ClinicalDictionary.from_toml(texts[f"clinical/{listing.clinical}"]),
        cohort=CohortDefinition.from_toml(texts[f"cohort/{listing.cohort}"]),
    )


@lru_cache(maxsize=4)
def protocol_with(digest: Sha256) -> Protocol:
    """The protocol with that digest; raises `ProtocolMismatch` when this release has none."""
    named = {load_edition(name).digest: name for name in protocol_names()}
    if digest not in named:
        raise ProtocolMismatch(held=", ".join(sorted(named)), wanted=digest)
    return load_protocol(named[digest])


@lru_cache(maxsize=4)
def load_edition(name: str = "ricord") -> ProtocolEdition:
    """Which edition of a protocol this release has; its parts are hashed and not read. Raises `ProtocolInvalid`."""
    listing, texts = _listed(name)
    return ProtocolEdition(protocol=listing.name, edition=listing.edition, digest=digest_of(texts))


@lru_cache(maxsize=4)
def load_profile(name: str = "ricord") -> Profile:
    """Load one de-identification profile of this release; raises `ProtocolInvalid`."""
    return Profile.from_files(_profile_texts(), file=f"{name}.toml")


def load_criteria(name: str | Path = "ricord") -> Criteria:
    """Load inclusion criteria by name, or from a file of the site's own; raises `ProtocolInvalid`."""
    if isinstance(name, Path) or name.endswith(".toml"):
        try:
            return Criteria.from_toml(Path(name).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ProtocolInvalid(file=str(name), problem="it cannot be read") from error
    return Criteria.from_toml(_read("criteria", f"{name}.toml"))


@lru_cache(maxsize=4)
def load_annotation(name: str = "ricord") -> AnnotationDefinition:
    """Load what an annotation is, which concerns the curator alone and has a digest of its own.

    Raises `ProtocolInvalid`.
    """
    return AnnotationDefinition.from_toml(_read("annotation", f"{name}.toml"), file=f"annotation/{name}.toml")


def profile_names() -> tuple[str, ...]:
    """The de-identification profiles of this release."""
    return tuple(sorted(file.removesuffix(".toml") for file in _folder("deidentify") if file.endswith(".toml")))


def protocol_names() -> tuple[str, ...]:
    """The protocols of this release."""
    return tuple(sorted(file.removesuffix(".toml") for file in _folder("protocols")))


def _listed(name: str) -> tuple[_Listing, Mapping[str, str]]:
    """What a protocol names, and the texts of all its files by name."""
    file = f"protocols/{name}.toml"
    text = _read("protocols", f"{name}.toml")
    listing = parse_part(text, _Listing, file=file)
    parts = {f"{part}/{getattr(listing, part)}": _read(part, getattr(listing, part)) for part in PARTS}
    profile = texts_of_profile(_profile_texts(), file=listing.profile)
    return listing, {file: text, **parts, **{f"deidentify/{name}": text for name, text in profile.items()}}


def _profile_texts() -> Mapping[str, str]:
    """The files of the profiles, and the lists of words that they share."""
    return {**_folder("deidentify"), **{f"words/{name}": text for name, text in _folder("words").items()}}


def _data() -> Traversable:
    return resources.files("shared.protocol") / "data"


def _read(folder: str, file: str) -> str:
    files = _folder(folder)
    if file not in files:
        raise ProtocolInvalid(file=f"{folder}/{file}", problem="this release has no such file")
    return files[file]


def _folder(folder: str) -> Mapping[str, str]:
    """All text files of one data folder, by name."""
    entries = (_data() / folder).iterdir()
    return {entry.name: entry.read_bytes().decode("utf-8") for entry in entries if entry.is_file()}
