"""Synthetic radiographs: a thorax of soft ellipses with ribs, heart and vessels, with or without opacities.

Images are float32 (rows, columns) with attenuation in 0..1, bright is dense; `expose` turns them into stored samples.
The opacities of a positive film are peripheral and basal, as is usual in COVID-19 pneumonia, and of any severity; a
negative film may carry a faint shadow or two anywhere, so that a classifier has something to learn and to err about.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

_MIDLINE = 0.08  # half the width between the clavicles, as part of the half width of the film

Attenuation = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scanner:
    """How one hospital's detector renders attenuation: level + gain x attenuation ** contrast, then noise."""

    gain: float
    level: float
    contrast: float
    noise: float
    bits: int = 12
    inverted: bool = False
    modality: str = "DX"


def frontal(rng: np.random.Generator, size: int, *, positive: bool) -> Attenuation:
    """A frontal chest film of `size` x `size`."""
    x, y = _grid(size, rng)
    width, height = rng.uniform(0.24, 0.3), rng.uniform(0.5, 0.6)
    right, left = (width, height), (width * 0.95, height * 0.96)
    lungs = np.maximum(_ellipse(x, y, (-0.4, -0.08), right), _ellipse(x, y, (0.4, -0.08), left))
    image = 0.72 * _ellipse(x, y, (0.0, 0.1), (0.92, 1.25), 14)
    image -= lungs * rng.uniform(0.4, 0.46)
    image += 0.28 * _ellipse(x, y, (rng.uniform(0.1, 0.18), 0.3), (rng.uniform(0.24, 0.34), 0.28))  # heart
    image += 0.18 * np.exp(-((x / 0.1) ** 2))  # spine
    image += 0.05 * np.cos(2 * np.pi * (4.2 * y + 1.1 * x**2)) * (1 - np.exp(-((x / 0.25) ** 2)))  # ribs
    image += 0.12 * np.exp(-(((y + 0.62 + 0.22 * np.abs(x)) / 0.035) ** 2)) * (np.abs(x) > _MIDLINE)  # clavicles
    image += 0.2 * lungs * _clouds(rng, size, 18) * 0.5  # vessels
    return _clip(image + lungs * _opacities(rng, x, y, positive=positive))


def lateral(rng: np.random.Generator, size: int) -> Attenuation:
    """A lateral chest film: one lung field before the spine."""
    x, y = _grid(size, rng)
    image = 0.8 * _ellipse(x, y, (0.0, 0.1), (0.75, 1.2), 14) - 0.4 * _ellipse(x, y, (0.0, -0.1), (0.45, 0.6))
    image += 0.25 * np.exp(-(((x - 0.5) / 0.12) ** 2)) + 0.25 * _ellipse(x, y, (-0.25, 0.25), (0.25, 0.25))
    return _clip(image + 0.05 * np.cos(2 * np.pi * (4 * y + x)))


def abdomen(rng: np.random.Generator, size: int) -> Attenuation:
    """A film of the abdomen: no lungs, gas in the bowel."""
    x, y = _grid(size, rng)
    image = 0.75 * _ellipse(x, y, (0.0, 0.0), (0.95, 1.4), 14) + 0.2 * np.exp(-((x / 0.1) ** 2))
    for _ in range(9):
        centre = rng.uniform(-0.6, 0.6, 2).tolist()
        image -= 0.2 * _ellipse(x, y, centre, rng.uniform(0.05, 0.15, 2).tolist())
    return _clip(image)


def mark(image: Attenuation, text: str, place: tuple[float, float], height: float = 0.05) -> Attenuation:
    """Burn `text` in white into a copy; `place` and `height` are fractions of the image's size."""
    canvas = Image.fromarray((image * 255).astype(np.uint8))
    letters = ImageFont.load_default(size=max(10, round(height * canvas.height)))
    where = (place[0] * canvas.width, place[1] * canvas.height)
    drawn = Image.new("L", canvas.size)
    ImageDraw.Draw(drawn).text(where, text, fill=255, font=letters)
    return _clip(np.maximum(image, np.asarray(drawn, dtype=np.float32) / 255))


def expose(image: Attenuation, scanner: Scanner, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """The stored samples of one scanner, `scanner.bits` deep, inverted where it writes MONOCHROME1."""
    signal = scanner.level + scanner.gain * np.power(image, scanner.contrast)
    signal += rng.normal(0, scanner.noise, image.shape)
    stored = (signal.clip(0, 1) * (2**scanner.bits - 1)).astype(np.uint16)
    full = np.full_like(stored, 2**scanner.bits - 1)
    samples: npt.NDArray[np.uint16] = full - stored if scanner.inverted else stored
    return samples


def _grid(size: int, rng: np.random.Generator) -> tuple[Attenuation, Attenuation]:
    """Coordinates in -1..1 of a patient whose position varies a little."""
    shift, scale, tilt = rng.uniform(-0.06, 0.06, 2), rng.uniform(0.94, 1.08), rng.uniform(-0.05, 0.05)
    line = np.linspace(-1, 1, size, dtype=np.float32) * np.float32(scale)
    x, y = line[None, :] + np.float32(shift[0]), line[:, None] + np.float32(shift[1])
    return x + np.float32(tilt) * y, y - np.float32(tilt) * x


def _ellipse(
    x: Attenuation, y: Attenuation, centre: Sequence[float], radii: Sequence[float], sharp: float = 9
) -> Attenuation:
    """A soft ellipse: 1 inside, 0 outside; `centre` and `radii` are each horizontal and vertical."""
    (left, top), (width, height) = np.asarray((centre, radii), dtype=np.float32)
    radius: Attenuation = ((x - left) / width) ** 2 + ((y - top) / height) ** 2
    return (1 / (1 + np.exp(np.float32(sharp) * (radius - 1).clip(-5, 5)))).astype(np.float32)


def _clouds(rng: np.random.Generator, size: int, cells: int) -> Attenuation:
    """Smooth noise in -1..1 with structures of size/cells pixels."""
    coarse = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32)


def _opacities(rng: np.random.Generator, x: Attenuation, y: Attenuation, *, positive: bool) -> Attenuation:
    """Patchy shadows: peripheral and basal in a positive film, of any severity; a faint spot or two in some others."""
    shadow = np.zeros(x.shape, dtype=np.float32)
    severity = rng.uniform(0.4, 1) if positive else 0.3
    count = int(rng.integers(2, 6)) if positive else int(rng.integers(0, 3))
    for _ in range(count):
        left = rng.choice((-1, 1)) * rng.uniform(0.3, 0.58)
        top = rng.uniform(-0.25, 0.35) if positive else rng.uniform(-0.5, 0.3)
        spread = rng.uniform(0.07, 0.17) if positive else rng.uniform(0.04, 0.12)
        distance = ((x - np.float32(left)) ** 2 + (y - np.float32(top)) ** 2) / np.float32(2 * spread**2)
        shadow += np.float32(severity * rng.uniform(0.1, 0.35)) * np.exp(-distance)
    return shadow * (1 + 0.5 * _clouds(rng, x.shape[1], 24))


def _clip(image: npt.NDArray[np.floating]) -> Attenuation:
    return image.clip(0, 1).astype(np.float32)
