"""DIMSE messages of an acceptor, without pynetdicom's polling every millisecond and its slow C-STORE responses.

For each C-STORE answer it builds a data set and encodes it twice, which is a third of an SCP's work.
"""

import queue
import struct

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE, DimsePrimitiveType
from pynetdicom.pdu_primitives import P_DATA

_C_STORE_RSP = 0x8001
_WAIT_SECONDS = 0.01  # the longest delay until the end of an association is noticed
_NO_DATASET = 0x0101
_LONGEST_MESSAGE = 2 << 30  # bytes, an enhanced CT with a margin; the message is in memory while it is received
_INVALID = "Evt19"  # PS3.8 table 9-10: the association is aborted
_LAST_OF_COMMAND = b"\3"  # message control header, PS3.8 annex E.2


class Dimse(DIMSEServiceProvider):  # type: ignore[misc] # pynetdicom ships no types
    """pynetdicom's provider for an acceptor, but it waits for a message and encodes C-STORE responses by hand."""

    message: DIMSEMessage | None  # the one being received

    def get_msg(self, block: bool = False) -> tuple[int, DimsePrimitiveType] | tuple[None, None]:
        """The next message, or `(None, None)` if none comes in time."""
        if block:
            return super().get_msg(block=True)  # type: ignore[no-any-return]
        try:
            return self.msg_queue.get(timeout=_WAIT_SECONDS)  # type: ignore[no-any-return]
        except queue.Empty:
            return None, None

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Add a part of a message; a message beyond the limit aborts the association."""
        super().receive_primitive(primitive)
        message = self.message
        if message is not None and message.encoded_command_set.tell() + message.data_set.tell() > _LONGEST_MESSAGE:
            self.message = None
            self.dul.event_queue.put(_INVALID)

    def send_msg(self, primitive: DimsePrimitiveType, context_id: int) -> None:
        """Queue a message for the peer."""
        if not isinstance(primitive, C_STORE) or primitive.MessageIDBeingRespondedTo is None:
            super().send_msg(primitive, context_id)
            return
        data = P_DATA()
        data.presentation_data_value_list.append((context_id, _LAST_OF_COMMAND + c_store_response(primitive)))
        self.dul.send_pdu(data)


def c_store_response(answer: C_STORE) -> bytes:
    """The command set of a C-STORE-RSP (PS3.7 section 9.3.1.2), in Implicit VR Little Endian."""
    command = b"".join((
        _element(0x0002, _uid(answer.AffectedSOPClassUID)),
        _element(0x0100, struct.pack("<H", _C_STORE_RSP)),
        _element(0x0120, struct.pack("<H", answer.MessageIDBeingRespondedTo)),
        _element(0x0800, struct.pack("<H", _NO_DATASET)),
        _element(0x0900, struct.pack("<H", answer.Status)),
        _element(0x1000, _uid(answer.AffectedSOPInstanceUID)),
    ))  # fmt: skip
    return _element(0x0000, struct.pack("<I", len(command))) + command


def _uid(value: str | None) -> bytes:
    content = str(value or "").encode("ascii", "replace")
    return content + b"\0" * (len(content) % 2)


def _element(number: int, content: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(content)) + content
