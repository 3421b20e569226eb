"""Putting the new file together: file meta from scratch, the actions applied at every depth, what is written anew."""

import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from shared.protocol.profile import GOING, Action, Rule
from site_node.deidentify.actions import CHARACTER_SET, Subject, Values
from site_node.deidentify.elements import (
    PIXEL_DATA,
    UNDEFINED,
    Dataset,
    Sequence,
    Source,
    Span,
    encode,
    encode_items,
    header,
)
from site_node.deidentify.reasons import stop

DEEPEST = 32  # sequences within sequences; the deepest object of PS3.3 has far fewer
_STUDY, _SERIES, _INSTANCE, _CLASS = 0x0020000D, 0x0020000E, 0x00080018, 0x00080016
_NAME, _ID = 0x00100010, 0x00100020
_EARLIER_CODES = 0x00120064
_CODE_VALUE, _SCHEME, _MEANING = 0x00080100, 0x00080102, 0x00080104
_IMPLEMENTATION = "2.25.206518923012283473928341902384752938475"  # ours, PS3.5 Annex B.2
_VERSION = "RICORD_FED_1"
_PRIVATE = 0x0013
_PIXELS_ONLY_ON_TOP = frozenset({0x7FE00001, 0x7FE00002, PIXEL_DATA})


class NewFile(NamedTuple):
    """A new file in three parts, so that pixel bytes need not pass through memory."""

    before: bytes
    pixels: Span | bytes
    after: bytes
    sop_instance_uid: str
    series_instance_uid: str


def assemble(subject: Subject, source: Source, values: Values) -> NewFile:
    """The new file of one source. Raises `DicomUnsupported` where an element cannot be judged."""
    writer = _Writer(subject, explicit=source.explicit)
    uids = {tag: _new_uid(subject, source.dataset, tag) for tag in (_STUDY, _SERIES, _INSTANCE)}
    parts = dict(writer.elements(source.dataset, values, depth=0))
    parts |= writer.written(source.dataset, uids)
    body = b"".join(parts[tag] for tag in sorted(parts) if tag < PIXEL_DATA)
    after = b"".join(parts[tag] for tag in sorted(parts) if tag > PIXEL_DATA)
    sop_class = bytes_of(source.dataset, _CLASS).decode("latin-1").strip(" \0")
    meta = file_meta(sop_class, uids[_INSTANCE], source.syntax)
    pixels, pixel_header, pad = _pixels(source)
    return NewFile(meta + body + pixel_header, pixels, pad + after, uids[_INSTANCE], uids[_SERIES])


def bytes_of(dataset: Dataset, tag: int) -> bytes:
    """The raw value of a plain element, empty if there is none."""
    element = dataset.get(tag)
    return element.value if element is not None and isinstance(element.value, bytes) else b""


def file_meta(sop_class: str, sop_instance: str, syntax: str) -> bytes:
    """Preamble of zeros, prefix and file meta information from scratch (PS3.10 section 7.1)."""
    rows = (
        (0x00020001, "OB", b"\0\1"),
        (0x00020002, "UI", sop_class.encode()),
        (0x00020003, "UI", sop_instance.encode()),
        (0x00020010, "UI", syntax.encode()),
        (0x00020012, "UI", _IMPLEMENTATION.encode()),
        (0x00020013, "SH", _VERSION.encode()),
    )
    group = b"".join(encode(tag, vr, value, explicit=True) for tag, vr, value in rows)
    return bytes(128) + b"DICM" + encode(0x00020000, "UL", struct.pack("<L", len(group)), explicit=True) + group


class _Writer:
    """Applies the actions to data sets and encodes what is left."""

    def __init__(self, subject: Subject, *, explicit: bool) -> None:
        self._subject = subject
        self._rules = subject.profile.by_tag
        self._cleaned = False  # whether a description went through the cleaner
        self._explicit = explicit

    def elements(self, dataset: Dataset, values: Values, *, depth: int) -> Iterable[tuple[int, bytes]]:
        """Each element that stays, encoded."""
        for tag, element in dataset.items():
            rule = self._rules.get(tag)
            if rule is None or rule.action in GOING or (tag in _PIXELS_ONLY_ON_TOP and depth):
                continue
            is_sequence = "SQ" in rule.vrs
            if rule.action is Action.CLEAN:
                self._cleaned = True
            if is_sequence and rule.action is Action.EMPTY:
                yield tag, encode(tag, "SQ", b"", explicit=self._explicit)
            elif is_sequence and not isinstance(element.value, bytes):
                yield tag, self._sequence(rule, element.value, values, depth)
            elif not is_sequence and isinstance(element.value, bytes):
                new = values.new_element(rule, element.vr, element.value)
                if new is not None:
                    yield tag, new

    def _sequence(self, rule: Rule, items: Sequence, values: Values, depth: int) -> bytes:
        if depth >= DEEPEST:
            raise stop("too-deep", rule.keyword)
        bodies = []
        for item in items():
            inner = values.of_item(bytes_of(item, CHARACTER_SET))
            bodies.append(b"".join(part for _, part in sorted(self.elements(item, inner, depth=depth + 1))))
        return encode(rule.tag, "SQ", encode_items(bodies), explicit=self._explicit)

    def written(self, dataset: Dataset, uids: Mapping[int, str]) -> dict[int, bytes]:
        """What the program itself says in every object (PS3.15 E.1.1, E.3.6), and the federation's private block."""
        profile, pseudonym = self._subject.profile, self._subject.pseudonym.encode()
        codes = encode_items(self._code(code) for code in self._codes(dataset))
        rows = (
            (_NAME, "PN", pseudonym),
            (_ID, "LO", pseudonym),
            (0x00120062, "CS", b"YES"),
            (0x00120063, "LO", profile.method.encode()),
            (_EARLIER_CODES, "SQ", codes),
            (_PRIVATE << 16 | 0x0010, "LO", profile.private_creator.encode()),
            (_PRIVATE << 16 | 0x1001, "SH", self._subject.pseudonyms.site_id.encode()),
            (_PRIVATE << 16 | 0x1003, "SH", profile.project.encode()),
            (0x00280303, "CS", b"MODIFIED"),
        )
        own = {tag: encode(tag, vr, value, explicit=self._explicit) for tag, vr, value in rows}
        return own | {tag: encode(tag, "UI", uid.encode(), explicit=self._explicit) for tag, uid in uids.items()}

    def _codes(self, dataset: Dataset) -> list[str]:
        """Codes for what was done now, and earlier ones that are known and still true, in order."""
        claims = self._subject.profile.claims
        codes = set(claims.always) | ({claims.cleaned} if self._cleaned else set())
        earlier = dataset.get(_EARLIER_CODES)
        for item in () if earlier is None or isinstance(earlier.value, bytes) else earlier.value():
            if bytes_of(item, _SCHEME).strip(b" \0") == b"DCM":
                codes |= {bytes_of(item, _CODE_VALUE).decode("latin-1").strip(" \0")} & claims.earlier
        return sorted(codes)

    def _code(self, code: str) -> bytes:
        meaning = self._subject.profile.claims.meanings[code]
        rows = ((_CODE_VALUE, "SH", code), (_SCHEME, "SH", "DCM"), (_MEANING, "LO", meaning))
        return b"".join(encode(tag, vr, text.encode(), explicit=self._explicit) for tag, vr, text in rows)


def _new_uid(subject: Subject, dataset: Dataset, tag: int) -> str:
    original = bytes_of(dataset, tag).decode("latin-1").strip(" \0")
    if not original:
        raise stop("no-identifiers", subject.profile.by_tag[tag].keyword)
    return subject.pseudonyms.uid(original)


def _pixels(source: Source) -> tuple[Span | bytes, bytes, bytes]:
    """The pixel bytes, the header before them and the pad byte after them."""
    if source.pixels is None:
        return b"", b"", b""
    if source.encapsulated:
        return source.pixels, header(PIXEL_DATA, "OB", UNDEFINED, explicit=True), b""
    length = source.pixels.length if isinstance(source.pixels, Span) else len(source.pixels)
    pad = b"\0" * (length % 2)
    return source.pixels, header(PIXEL_DATA, source.pixel_vr, length + len(pad), explicit=source.explicit), pad
