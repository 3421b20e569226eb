"""What is signed of a withdrawal: the coordinator's receipt of deletion, the curator's statement of what it purged."""

from typing import Literal

from pydantic import Field

from shared.agreement import Moment
from shared.frozen import Frozen, LargeCount
from shared.ids import Sha256, SiteId, Uid

MOST_INSTANCES = 10_000  # in one withdrawal


class Deletion(Frozen):
    """The receipt of deletion: the coordinator holds the ciphertext no longer, and the curator is told to purge.

    `instances` are the SOP Instance UIDs that were withdrawn, new ones; none where the whole submission was.
    """

    format: Literal["ricord-deletion/1"] = "ricord-deletion/1"
    submission: Sha256
    site_id: SiteId
    study: Uid
    instances: tuple[Uid, ...] = Field(default=(), max_length=MOST_INSTANCES)
    withdrawn_at: Moment
    deleted_at: Moment
    audit_number: LargeCount
    audit_head: Sha256


class Purge(Frozen):
    """The curator holds no opened copy of what was withdrawn, and opens none."""

    format: Literal["ricord-purge/1"] = "ricord-purge/1"
    number: LargeCount  # of the withdrawal: of its audit event
    submission: Sha256
    instances: tuple[Uid, ...] = Field(default=(), max_length=MOST_INSTANCES)
    purged_at: Moment
