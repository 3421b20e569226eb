"""How dense a patient's aerated lung is on CT: the median in Hounsfield units, from the slices that training uses.

Nothing is segmented: pixels count that are denser than emphysema (-950 HU, Gevenois et al. 1996) and no denser than
poorly aerated lung (-100 HU, Gattinoni et al. 2001), which leaves out the air around the body and most of the body.
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from shared.federation.asked import AERATED, DENSITY
from site_node.federate.decoded import DecodedImages, Images
from site_node.federate.volumes import in_units, read_volume
from site_node.home.library import LibraryStudy

_SIZE, _SLICES = 128, 16


def with_densities(library: Path, studies: Iterable[LibraryStudy]) -> list[LibraryStudy]:
    """The studies, and with each one that has CT its density, where it can be told."""
    given = list(studies)
    decoded = DecodedImages(library, _SIZE, _SLICES)
    decoded.forget_all_but(given)
    return [_measured(library, study, decoded) if "CT" in study.modalities else study for study in given]


def _measured(library: Path, study: LibraryStudy, decoded: DecodedImages) -> LibraryStudy:
    read = partial(read_volume, library / study.study, size=_SIZE, slices=_SLICES)
    density = density_of(decoded.of(study, read).images)
    return study.model_copy(update={"clinical": {**(study.clinical or {}), DENSITY: density}})


def density_of(images: Images) -> float | None:
    """The median of aerated pixels in Hounsfield units, of slices in the lung window; `None` where there is no pixel.

    Each slice holds -1 to 1, as `volumes` reads it.
    """
    units = in_units(np.asarray(images))
    aerated = units[(units >= AERATED[0]) & (units < AERATED[1])]
    return float(np.median(aerated)) if len(aerated) else None
