"""The optional parts of an installation (`ricord-federation[site]` …), and the error where one is absent."""

import importlib.metadata
import re
from collections.abc import Sequence
from importlib.util import find_spec

from shared.errors.settings import ExtraMissing

DISTRIBUTION = "ricord-federation"
ENGINE = ("flwr", "torch", "starlette", "uvicorn")  # packages that the extra `federation` installs
_OTHER_NAMES = {"PIL": "pillow"}  # of a distribution that is not called as its package


def require_extra(extra: str, *packages: str, otherwise: str = "") -> None:
    """Raise `ExtraMissing` unless every package is installed; `otherwise` says what a person can do without it."""
    for package in packages:
        if find_spec(package) is None:
            raise ExtraMissing(package=package, extra=extra, otherwise=otherwise)


def extra_missing(error: ModuleNotFoundError, extras: Sequence[str]) -> ExtraMissing | None:
    """The error to show for an import that failed: the first of `extras` that would install the package, or `None`."""
    package = (error.name or "").partition(".")[0]
    name = re.escape(_OTHER_NAMES.get(package, package).replace("_", "-"))
    for extra in extras if package else ():
        pattern = re.compile(rf"{name}\b.*extra == ['\"]{extra}['\"]", re.IGNORECASE)
        if any(map(pattern.match, importlib.metadata.requires(DISTRIBUTION) or ())):
            return ExtraMissing(package=package, extra=extra, otherwise="")
    return None
