"""Text burned into pictures, drawn anew from a seed: nine scripts, sizes, contrasts, turns and styles."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from site_node.pixels.box import Box

_FONTS = Path("/usr/share/fonts/truetype")
_DEJAVU = "dejavu/DejaVuSans.ttf"
# Each script with its font and invented words. Debian: fonts-{dejavu-core,wqy-microhei,lohit-deva,tlwg-garuda-ttf}.
SCRIPTS = {
    "latin": (_DEJAVU, "KOWALCZYK Berenika Hathersage LUNDQVIST Quentin Petra"),
    "latin serif": ("dejavu/DejaVuSerif.ttf", "Kowalczyk BERENIKA Hathersage Lundqvist"),
    "latin mono": ("dejavu/DejaVuSansMono.ttf", "KOWALCZYK BERENIKA Hathersage Lundqvist"),
    "cyrillic": (_DEJAVU, "Ковальчук ВЕРОНИКА Петров Лундквист"),
    "greek": (_DEJAVU, "Παπαδόπουλος Δημητρίου Νικολάου ΓΕΩΡΓΙΟΣ"),
    "armenian": (_DEJAVU, "Հովհաննիսյան ԱՐԱՄ Սարգսյան"),
    "georgian": (_DEJAVU, "მამარდაშვილი ნინო გელაშვილი"),
    "arabic": (_DEJAVU, "محمد عبدالله فاطمة الحسن"),
    "chinese": ("wqy/wqy-microhei.ttc", "王小明 李建国 张伟丽 陈大文"),
    "korean": ("wqy/wqy-microhei.ttc", "김민준 이서연 박지훈 최수빈"),
    "devanagari": ("lohit-devanagari/Lohit-Devanagari.ttf", "राजेश कुमार शर्मा अनीता वर्मा"),
    "thai": ("tlwg/Garuda.ttf", "สมชาย ใจดี วิภาดา สุขสันต์"),
}
SIZES, TURNS, STYLES = (
    (12, 16, 20, 28, 40, 60, 90, 120),
    (0, 0, 0, 90, 180, 270, 7, -12),
    ("plain", "plain", "dark", "outline", "label"),
)


class Burned(NamedTuple):
    """A text in a picture: what was drawn how, and where."""

    script: str
    size: int  # pixels of the font
    contrast: float  # of the range of values around it
    noise: float  # the same step in standard deviations of the noise around it
    degrees: int
    style: str
    box: tuple[int, int, int, int]


def scripts(more: Path = _FONTS) -> list[str]:
    """Those whose font is on this machine."""
    return [script for script, (font, _) in SCRIPTS.items() if _font(font, more)]


def burn(
    values: NDArray[np.floating],
    rng: np.random.Generator,
    contrast: float,
    *,
    most: int = 120,
    more: Path = _FONTS,
    script: str | None = None,
) -> tuple[NDArray[np.float32], Burned]:
    """A copy of `(rows, columns)` with one text at a place that chance gives; `contrast` of the range around it.

    The script is one of those whose font is there, unless it is named.
    """
    drawn_script = str(rng.choice(scripts(more)))
    script = script or drawn_script
    size = int(rng.choice([size for size in SIZES if size <= most]))
    degrees, style = int(rng.choice(TURNS)), str(rng.choice(STYLES))
    font, words = SCRIPTS[script]
    text = (
        f"{rng.choice(words.split())} {rng.integers(10**5, 10**7)}"
        if rng.random() < 0.6
        else " ".join(rng.choice(words.split(), 2, replace=False))
    )
    while True:
        letters = ImageFont.truetype(str(_font(font, more)), size)
        left, top, right, bottom = letters.getbbox(text)
        drawn = Image.new("L", (int(right - left) + size, int(bottom - top) + size // 2))
        ImageDraw.Draw(drawn).text((size / 2 - left, size / 4 - top), text, fill=255, font=letters)
        back = Image.new("L", drawn.size, 255)
        if style == "outline":
            thick = Image.new("L", drawn.size)
            ImageDraw.Draw(thick).text(
                (size / 2 - left, size / 4 - top), text, fill=255, font=letters, stroke_width=max(1, size // 16)
            )
            back = thick
        drawn, back = (image.rotate(degrees, expand=True, resample=Image.Resampling.BICUBIC) for image in (drawn, back))
        if drawn.width < values.shape[1] and drawn.height < values.shape[0]:
            break
        text, size = text[: len(text) * 2 // 3], max(SIZES[0], size * 3 // 4)
    x, y = int(rng.integers(values.shape[1] - drawn.width + 1)), int(rng.integers(values.shape[0] - drawn.height + 1))
    near = values.shape[0] // 8
    around = values[max(0, y - near) : y + drawn.height + near, max(0, x - near) : x + drawn.width + near]
    low, high = np.percentile(around, (1, 99))
    step = contrast * max(float(high - low), 0.02 * float(np.ptp(values)))
    burned = values.astype(np.float32)
    apart = step
    part = burned[y : y + drawn.height, x : x + drawn.width]
    ink, ground = (np.asarray(image, dtype=np.float32) / 255 for image in (drawn, back))
    if style == "label":
        whole = float(values.max())
        part += ground * (whole - part)
        apart = max(step, contrast * whole)
        part -= ink * apart
    elif style == "outline":
        part += (ground - 2 * ink) * step
    else:
        part += ink * (step if style == "plain" else -step)
    above = apart / max(_noise(around), 1e-6)
    return burned, Burned(script, size, contrast, above, degrees, style, (x, y, x + drawn.width, y + drawn.height))


def _noise(values: NDArray[np.floating]) -> float:
    """The standard deviation of what differs from pixel to pixel, most of the values being even."""
    checks = values[:-1, :-1] - values[1:, :-1] - values[:-1, 1:] + values[1:, 1:]
    return float(np.median(np.abs(checks))) / (2 * 0.6745)


def covered(burned: Burned, boxes: Iterable[Box]) -> bool:
    """Whether any box lies on the text."""
    left, top, right, bottom = burned.box
    return any(box.left < right and box.right > left and box.top < bottom and box.bottom > top for box in boxes)


def _font(name: str, more: Path) -> Path | None:
    return next((path for path in (_FONTS / name, more / name) if path.exists()), None)
