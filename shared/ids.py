"""Identifiers as parsed types: text that is checked once carries its kind from then on."""

import re
import secrets
from typing import Any, ClassVar, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from shared.errors.inputs import InvalidIdentifier


class Identifier(str):
    """Text of one known form. Building one from other text raises `InvalidIdentifier`, which never quotes the text."""

    __slots__ = ()
    pattern: ClassVar[re.Pattern[str]]

    def __new__(cls, text: str) -> Self:
        """Parse `text`; raises `InvalidIdentifier` when it has another form."""
        if cls.pattern.fullmatch(text) is None:
            raise InvalidIdentifier(kind=cls.__name__)
        return super().__new__(cls, text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        text = core_schema.no_info_after_validator_function(cls._validate, core_schema.str_schema(strict=True))
        return core_schema.union_schema(
            [core_schema.is_instance_schema(cls), text],  # a value of the type is already checked
            mode="left_to_right",
            serialization=core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema()),
        )

    @classmethod
    def _validate(cls, text: str) -> Self:
        try:
            return cls(text)
        except InvalidIdentifier as error:
            raise ValueError(error.public) from None


class SiteId(Identifier):
    """SITEID: six digits without a leading zero (it is a UID component), issued at random by the coordinator."""

    __slots__ = ()
    pattern = re.compile(r"[1-9][0-9]{5}")

    @classmethod
    def random(cls) -> Self:
        """Draw one of the 900,000; the issuer checks that it is not reserved and was never issued before."""
        return cls(str(100_000 + secrets.randbelow(900_000)))


EXAMPLE_SITE_ID = SiteId("123456")  # of the pages' examples, and of a file that is only shown
RESERVED_SITE_IDS = frozenset(
    {
        SiteId("419639"),  # of RICORD's released collections: a new site must not be mistaken for it
        EXAMPLE_SITE_ID,
        SiteId("654321"),  # of examples of a second site
        SiteId("100000"),  # linkage files of sites that were not enrolled carry it
    }
)


class Uid(Identifier):
    """A DICOM unique identifier: at most 64 characters, components without leading zeros (PS3.5 section 9.1)."""

    __slots__ = ()
    pattern = re.compile(r"(?=.{1,64}$)(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*")


class Sha256(Identifier):
    """A SHA-256 digest as 64 lower-case hexadecimal digits."""

    __slots__ = ()
    pattern = re.compile(r"[0-9a-f]{64}")


class StudyKey(Identifier):
    """A site's own opaque name for a study: 32 hexadecimal digits of a keyed hash; safe in logs and file names."""

    __slots__ = ()
    pattern = re.compile(r"[0-9a-f]{32}")


class PatientPseudonym(Identifier):
    """`<SITEID>-<digits>`, the value of PatientID and PatientName after de-identification."""

    __slots__ = ()
    pattern = re.compile(r"[1-9][0-9]{5}-[0-9]{6,15}")


class AgreementId(Identifier):
    """The coordinator's name for an agreement: `A-` and 12 hexadecimal digits."""

    __slots__ = ()
    pattern = re.compile(r"A-[0-9a-f]{12}")

    @classmethod
    def random(cls) -> Self:
        """Draw a new one."""
        return cls("A-" + secrets.token_hex(6))


class RunId(Identifier):
    """The coordinator's name for a federated run: `R-` and 12 hexadecimal digits."""

    __slots__ = ()
    pattern = re.compile(r"R-[0-9a-f]{12}")

    @classmethod
    def random(cls) -> Self:
        """Draw a new one."""
        return cls("R-" + secrets.token_hex(6))
