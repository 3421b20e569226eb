"""Answers of hospitals to the open call, as they are imported and kept."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from shared.agreement import Mode
from shared.frozen import Count, Frozen
from shared.modalities import Modality


class SurveyAnswer(Frozen):
    """What a hospital answered to the open call: nothing of a person, and nothing binding."""

    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]  # ISO 3166-1
    modalities: tuple[Modality, ...] = Field(min_length=1, max_length=20)
    studies: Count  # about as many as it could contribute
    modes: tuple[Mode, ...] = Field(min_length=1)
    clinical_data: bool
    ethics: Literal["approved", "exempt", "applied", "none"]
