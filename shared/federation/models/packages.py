"""Networks of installed wheels: a plan names `DISTRIBUTION:NAME`, an entry point of the group `ricord.models`.

The entry point is called with `image_size` and gives a network from images of shape (batch, 1, size, size) to one logit
each, shape (batch,). A plan also names the digest of the installed files, so that all sites train the same code, and a
site lists both. `python -m shared.federation.models.packages DISTRIBUTION` prints a digest.
"""

import csv
import hashlib
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

import torch
from torch import nn

from shared.errors.federation import PlanInvalid
from shared.federation.task import TrainingTask
from shared.ids import Sha256

GROUP = "ricord.models"
_OF_INSTALLING = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")  # differ from machine to machine


def package_network(task: TrainingTask) -> nn.Module:
    """The network that the task names; raises `PlanInvalid` where it is not installed here just so."""
    name, _, entry = task.model.partition(":")
    installed = _installed(name)
    if package_digest(installed) != task.package:
        raise PlanInvalid(problem=f"another version of {name} is installed here")
    points = [point for point in installed.entry_points if (point.group, point.name) == (GROUP, entry)]
    model = points[0].load()(image_size=task.image_size) if points else None
    if not isinstance(model, nn.Module) or _answer_shape(model, task.image_size) != (2,):
        raise PlanInvalid(problem=f"{name} has no network of that name that gives a logit for each image")
    return model


def package_digest(installed: Distribution) -> Sha256:
    """SHA-256 over the names and contents of all files of an installed wheel, but not of what installing it left.

    Raises `PlanInvalid` for one whose files lie elsewhere (an editable installation), or are no longer all there.
    """
    digest = hashlib.sha256()
    # Not `Distribution.files`, which from Python 3.12 on, and in `importlib_metadata`, leaves out what is missing.
    record = csv.reader((installed.read_text("RECORD") or "").splitlines())
    files = sorted((PurePosixPath(row[0]) for row in record if row), key=str)
    if not files or any(file.suffix == ".pth" for file in files):
        raise PlanInvalid(problem="a network's package is not installed from a wheel")
    for file in files:
        if file.suffix == ".pyc" or file.name in _OF_INSTALLING:
            continue
        try:
            content = Path(str(installed.locate_file(str(file)))).read_bytes()
        except OSError as error:
            raise PlanInvalid(problem="a network's package is not installed whole") from error
        digest.update(f"{file} {hashlib.sha256(content).hexdigest()}\n".encode())
    return Sha256(digest.hexdigest())


def _installed(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError as error:
        raise PlanInvalid(problem=f"the package {name} is not installed here") from error


def _answer_shape(model: nn.Module, size: int) -> tuple[int, ...]:
    model.eval()
    with torch.no_grad():
        return tuple(model(torch.zeros(2, 1, size, size)).shape)


if __name__ == "__main__":
    sys.stdout.write(f"{package_digest(_installed(sys.argv[1]))}\n")
