"""What a worker works with: opened once from the job, by the worker itself."""

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
    """The job with its profile, its keyed identifiers, the checker's process and the archive that is open."""

    job: Job
    profile: Profile
    pseudonyms: Pseudonyms = field(repr=False)
    checker: PixelChecker = field(default_factory=PixelChecker)
    archives: Archives = field(default_factory=Archives)

    def close(self) -> None:
        """End the checker's process and let the archive go."""
        self.checker.close()
        self.archives.close()


def open_worker_context(job: Job) -> WorkerContext:
    """Raises `KeyFileMissing`, `KeyFileOpen`, `KeyFileInvalid`, `ProtocolInvalid`."""
    return WorkerContext(job, load_profile(job.profile), Pseudonyms(load_secret(job.key_file), job.site_id))
