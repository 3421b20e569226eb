"""Inclusion criteria as data: which imaging a study accepts, and the outcome where a rule is not met.

A rule that the file leaves out does not apply. Another study (say, chest MR) is another file and needs no code.
Vocabularies of descriptions hold glob patterns that are matched with whole words, upper case (`PULMON*`).
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from shared.frozen import Frozen
from shared.protocol.parts import parse_part

Outcome = Literal["accept", "warn", "review", "reject"]
Words = tuple[str, ...]


class ModalityRule(Frozen):
    """Which modalities and SOP classes are accepted."""

    allowed: Words = Field(min_length=1)
    sop_classes: Words = Field(min_length=1)
    other: Outcome


class LocalizerRule(Frozen):
    """Scouts: value 3 of ImageType (PS3.3 C.8.2.1.1.1)."""

    modalities: Words
    image_type: Words
    outcome: Outcome = Field(alias="found")


class OrientationRule(Frozen):
    """Axial slices: the angle between the slice's normal and the patient's z axis, in degrees."""

    modalities: Words
    tolerance_degrees: float = Field(gt=0, lt=90)
    oblique: Outcome
    missing: Outcome


class GeometryRule(Frozen):
    """A series is a volume: one orientation, each position once, even spacing."""

    modalities: Words
    minimum_positions: int = Field(ge=2)
    spacing_tolerance: float = Field(gt=0, lt=1)  # fraction of the median spacing
    few_positions: Outcome
    mixed_orientation: Outcome
    repeated_position: Outcome
    uneven_spacing: Outcome
    missing_slice: Outcome  # a gap of 1.5 spacings or more
    missing: Outcome


class ThicknessRule(Frozen):
    """Slice thickness in mm, and how far it may be from the spacing computed from the positions."""

    modalities: Words
    minimum_mm: float = Field(gt=0)
    maximum_mm: float = Field(gt=0)
    outside: Outcome
    missing: Outcome
    spacing_ratio: float = Field(ge=1)  # the greater of thickness and spacing over the smaller
    unlike_spacing: Outcome


class KernelRule(Frozen):
    """Reconstruction kernels: glob patterns of the vendors' names by kind; the first kind that matches counts."""

    modalities: Words
    kinds: dict[str, Words]
    preferred: Words
    other: Outcome
    unknown: Outcome


class RegionRule(Frozen):
    """The body region, from BodyPartExamined, coded regions and procedures, and words of the descriptions."""

    name: str
    body_parts: Words
    codes: Words  # "scheme:value" of AnatomicRegionSequence or a procedure code
    words: Words
    other_words: Words  # other regions, to detect a conflict
    missing: Outcome
    conflict: Outcome
    elsewhere: Outcome  # every attribute that names a region names another one


class ViewRule(Frozen):
    """Projection of a radiograph, from ViewPosition, ViewCodeSequence and words of the descriptions."""

    modalities: Words
    accepted: Words
    rejected: Words
    accepted_codes: Words
    rejected_codes: Words
    accepted_words: Words
    rejected_words: Words
    other_view: Outcome  # a rejected one
    conflict: Outcome
    missing: Outcome


class AgeRule(Frozen):
    """Age in whole years at the study date."""

    minimum_years: int = Field(ge=0, le=120)
    younger: Outcome
    missing: Outcome


class CovidRule(Frozen):
    """COVID status from the clinical sheet: which values count, and which methods prove each."""

    statuses: dict[str, Words]  # status -> methods that confirm it
    timing_needed: Words  # statuses that need a timing clause
    missing_status: Outcome
    other_status: Outcome
    missing_method: Outcome
    missing_timing: Outcome


class LinkageRule(Frozen):
    """Every study joins a clinical row, which holds these fields."""

    required: Words = ()
    missing_row: Outcome
    missing_field: Outcome
    disagreement: Outcome  # sex or age of the row and of the images differ


class Criteria(Frozen):
    """The inclusion criteria of one study programme."""

    name: str
    edition: str
    source: str
    modality: ModalityRule
    localizer: LocalizerRule | None = None
    orientation: OrientationRule | None = None
    geometry: GeometryRule | None = None
    thickness: ThicknessRule | None = None
    kernel: KernelRule | None = None
    region: RegionRule | None = None
    view: ViewRule | None = None
    age: AgeRule | None = None
    covid: CovidRule | None = None
    linkage: LinkageRule | None = None

    @model_validator(mode="after")
    def _thickness_is_a_range(self) -> Self:
        if self.thickness and self.thickness.minimum_mm > self.thickness.maximum_mm:
            raise ValueError("thickness.minimum_mm is above thickness.maximum_mm")
        return self

    @classmethod
    def from_toml(cls, text: str, *, file: str = "criteria") -> Self:
        """Read criteria from TOML; raises `ProtocolInvalid` naming an unknown key or a value that cannot be."""
        return parse_part(text, cls, file=file)
