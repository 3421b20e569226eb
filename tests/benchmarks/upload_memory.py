"""The peak memory of a site that uploads, for a small study and one forty times as large.

`python -m tests.benchmarks.upload_memory HOME BYTES` uploads a sparse file from an enrolled home and prints kilobytes.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from site_node.home.folder import SiteHome
from site_node.membership.record import load_membership
from site_node.submit.client import submitting
from tests.benchmarks.alone import forget_peak, memory
from tests.benchmarks.measure import Row
from tests.benchmarks.submission import served
from tests.factories.federation import make_federation, sealed_zeros

_SMALL, _LARGE = 50_000_000, 2_000_000_000  # bytes
_FLAT = 0.9  # the peak for the small one, as a share of that for the large one


def rows() -> list[Row]:
    """Both peaks."""
    with tempfile.TemporaryDirectory(prefix="ricord-bench-") as name:
        federation = make_federation(Path(name))
        with served(federation):
            federation.curator()
            home = federation.site("Hospital")[0].folder
            small, large = (_peak(home, size) for size in (_SMALL, _LARGE))
    return [Row("peak memory, upload of 2 GB", large, "MB", f"{small:.0f} MB for 50 MB", small / large, _FLAT)]


def _peak(home: Path, size: int) -> float:
    command = [sys.executable, "-m", "tests.benchmarks.upload_memory", str(home), str(size)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) / 1024


def main(home: SiteHome, size: int) -> None:
    """Upload, and print the peak."""
    membership = load_membership(home)
    sealed = sealed_zeros(home, membership, size)
    with submitting(home, membership) as submit:
        forget_peak()
        submit(sealed)
    sys.stdout.write(f"{memory('VmHWM')}\n")


if __name__ == "__main__":
    main(SiteHome(Path(sys.argv[1])), int(sys.argv[2]))
