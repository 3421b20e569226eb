"""The context of a worker, which the worker itself opens once from the job."""

from dataclasses import dataclass, field

from shared.crypto.keys import load_secret
from shared.protocol.loader import load_profile
from shared.protocol.profile import Profile
from site_node.pixels.client import PixelChecker
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.standalone.sources import Archives
from site_node.standalone.tasks import Job


@dataclass(frozen=True)
class WorkerContext:
    """The job with its profile, its pseudonyms, the pixel checker's process and the archives."""

    job: Job
    profile: Profile
    pseudonyms: Pseudonyms = field(repr=False)
    checker: PixelChecker = field(default_factory=PixelChecker)
    archives: Archives = field(default_factory=Archives)

    def close(self) -> None:
        """End the checker's process and close the archive."""
        self.checker.close()
        self.archives.close()


def open_worker_context(job: Job) -> WorkerContext:
    """Load profile and secret; raises `KeyFileMissing`, `KeyFileOpen`, `KeyFileInvalid`, `ProtocolInvalid`."""
    return WorkerContext(job, load_profile(job.profile), Pseudonyms(load_secret(job.key_file), job.site_id))
