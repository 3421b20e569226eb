"""The two models that find and read text, run by onnxruntime on one thread: those of `models/`, by digest."""

import hashlib
import tomllib
from collections.abc import Sequence
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.errors.settings import PixelCheckUnavailable

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Grey = NDArray[np.uint8]
_PACKAGE = "onnxruntime"
STEP = 32  # the detector halves its input five times
_LETTERS = 48  # rows of the reader's input
_SHORTEST, _LONGEST, _BATCH = 128, 1600, 8  # columns of the reader's input, and how many texts it reads at once


class Models:
    """Detector and reader: PP-OCRv4. Raises `PixelCheckUnavailable` where they do not load or are not those we ship.

    The reader is checked at once too, and loaded for the first text: most pictures show none.
    """

    def __init__(self) -> None:
        try:
            self._detector, self._reader_model = _session(_model("detector")), _model("reader")
        except (ImportError, OSError, ValueError) as error:
            raise PixelCheckUnavailable(package=_PACKAGE) from error

    @cached_property
    def _reader(self) -> "tuple[InferenceSession, list[str]]":
        """The reader and its letters. CTC: class 0 is no letter, and the last a space."""
        reader = _session(self._reader_model)
        return reader, ["", *reader.get_modelmeta().custom_metadata_map["character"].splitlines(), " "]

    def text_map(self, picture: Grey) -> NDArray[np.float32]:
        """How probably each pixel of `picture`, `(rows, columns)` or with three colours, is text.

        The picture is continued at its right and bottom edge to the next multiple of `STEP`.
        """
        rows, columns = picture.shape[:2]
        edges = ((0, -rows % STEP), (0, -columns % STEP), (0, 0))
        colour = np.pad(picture if picture.ndim == 3 else picture[..., None], edges, mode="edge")
        scaled = np.moveaxis(colour[..., ::-1].astype(np.float32) * np.float32(2 / 255) - np.float32(1), -1, 0)
        whole = np.ascontiguousarray(np.broadcast_to(scaled, (3, *scaled.shape[1:])))[None]
        probability: NDArray[np.float32] = self._detector.run(None, {"x": whole})[0][0, 0, :rows, :columns]
        return probability

    def read(self, crops: Sequence[Image.Image]) -> list[tuple[str, float]]:
        """The text of each crop of one line, and the mean confidence of its letters, 0 to 1."""
        readings = [("", 0.0)] * len(crops)
        (reader, letters), lines = self._reader, [_line(crop) for crop in crops]
        order = sorted(range(len(lines)), key=lambda index: lines[index].shape[1])
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            whole = np.zeros((len(batch), 3, _LETTERS, max(_SHORTEST, lines[batch[-1]].shape[1])), dtype=np.float32)
            for row, index in enumerate(batch):
                whole[row, :, :, : lines[index].shape[1]] = np.moveaxis(lines[index], -1, 0)
            classes = reader.run(None, {"x": whole})[0]
            for index, best, sure in zip(batch, classes.argmax(axis=2), classes.max(axis=2), strict=True):
                new = (best > 0) & np.diff(best, prepend=0).astype(bool)
                text = "".join(letters[letter] for letter in best[new])
                readings[index] = (text, float(sure[new].mean()) if new.any() else 0.0)
        return readings


def _session(model: bytes) -> "InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # messages may quote values
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _line(crop: Image.Image) -> NDArray[np.float32]:
    """A crop at the reader's height, -1 to 1."""
    width = min(_LONGEST, max(8, round(crop.width * _LETTERS / crop.height)))
    resized = np.asarray(crop.convert("RGB").resize((width, _LETTERS), Image.Resampling.BILINEAR), dtype=np.float32)
    return resized[..., ::-1] * np.float32(2 / 255) - np.float32(1)


def _model(name: str) -> bytes:
    """A model's bytes; raises `ValueError` where they are not those of `models.toml`."""
    folder = files("site_node.pixels") / "models"
    content = (folder / f"{name}.onnx").read_bytes()
    if hashlib.sha256(content).hexdigest() != tomllib.loads((folder / "models.toml").read_text())[name]["sha256"]:
        raise ValueError(name)
    return content
