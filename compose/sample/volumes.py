"""Synthetic chest CT: a body with two lungs, a spine and, in a positive patient, ground glass, in Hounsfield units."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

Volume = npt.NDArray[np.int16]
_AIR, _LUNG, _TISSUE, _BONE, _GLASS = -1000, -850, 40, 500, 450


@dataclass(frozen=True)
class Chest:
    """Axial slices (slices, rows, columns) from feet to head."""

    axial: Volume

    def coronal(self, count: int) -> Volume:
        """`count` coronal reformats, square: (count, rows, columns)."""
        size = self.axial.shape[2]
        planes = np.linspace(0.3, 0.7, count) * self.axial.shape[1]
        return np.stack([_resize(self.axial[::-1, int(plane), :], size) for plane in planes])

    def scout(self) -> Volume:
        """A frontal projection, as the localizer shows it."""
        return _resize(self.axial[::-1].mean(axis=1), self.axial.shape[2])


def chest(rng: np.random.Generator, *, size: int, slices: int, positive: bool) -> Chest:
    """A chest of `slices` axial images of `size` x `size`."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = line[None, :], line[:, None]
    axial = np.full((slices, size, size), _AIR, dtype=np.float32)
    patches = [(rng.choice((-1, 1)) * 0.5, rng.uniform(0, 0.35), rng.uniform(0.1, 0.5)) for _ in range(6)]
    for number in range(slices):
        height = (number + 0.5) / slices  # 0 at the feet, 1 at the head
        lung = 0.9 * np.sin(np.pi * np.clip(0.15 + 0.8 * height, 0, 1)) + 0.05
        image = axial[number]
        image[(x / 0.88) ** 2 + (y / 0.62) ** 2 < 1] = _TISSUE
        for side in (-1, 1):
            inside = ((x - side * 0.42) / (0.34 * lung)) ** 2 + ((y + 0.02) / (0.46 * lung)) ** 2 < 1
            image[inside] = _LUNG
            for left, top, where in patches if positive else ():
                spot = np.exp(-((x - left) ** 2 + (y - top) ** 2) / 0.015 - ((height - where) / 0.2) ** 2)
                image += inside * _GLASS * spot
        image[x**2 + ((y - 0.45) / 0.9) ** 2 < 0.012] = _BONE
        image += rng.normal(0, 18, image.shape)
    return Chest(axial.clip(-1024, 3000).astype(np.int16))


def _resize(image: npt.NDArray[np.floating] | Volume, size: int) -> Volume:
    """A plane of any shape as a square."""
    small = Image.fromarray(np.ascontiguousarray(image, dtype=np.float32))
    return np.asarray(small.resize((size, size), Image.Resampling.BILINEAR)).astype(np.int16)
