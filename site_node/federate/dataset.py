"""The library's frontal radiographs (of a CT model, its CT: `volumes.py`) as arrays, normalised alike at every site.

Each image is inverted when it is MONOCHROME1, clipped to its 1st and 99th percentile, averaged down to the task's size
and standardised on its own to mean 0 and deviation 1, so that no scanner's gain is learned. Patients, not images, are
split into training, validation and test, by a hash of the pseudonym: the same split in every round and after a
restart.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pydicom
import torch
from torch.nn.functional import adaptive_avg_pool2d

from shared.errors.federation import RunRefused
from shared.errors.studies import PixelsUnreadable
from shared.federation.labels import class_of
from shared.federation.task import CT, TrainingTask
from shared.ids import PatientPseudonym
from site_node.federate.decoded import UNREADABLE, Decoded, DecodedImages
from site_node.federate.training import Samples
from site_node.federate.volumes import read_volume
from site_node.home.library import LibraryStudy

MODALITIES = ("CR", "DX")
_LATERAL = ("LL", "RL", "LAT", "LATERAL", "LLD", "RLD", "LLO", "RLO", "LPO", "RPO", "LAO", "RAO")  # (0018,5101)


class Split(NamedTuple):
    """A site's images for one task, by patient."""

    training: Samples
    validation: Samples
    test: Samples  # seen by finished models only
    patients: int

    def learned(self, task: TrainingTask) -> Samples:
        """What a task trains on: of each patient one image where it is private."""
        return self.training if task.privacy is None else self.training.one_each()


class _Entry(NamedTuple):
    patient: PatientPseudonym
    label: int
    image: npt.NDArray[np.float32]  # (size, size), of CT (slices, size, size)


def load_split(
    library: Path,
    studies: Sequence[LibraryStudy],
    task: TrainingTask,
    *,
    all_test: bool = False,
    most_bytes: int | None = None,
) -> Split:
    """The studies' labelled frontal radiographs, or of a CT model their CT; others and unreadable ones are skipped.

    With `all_test` every patient is a test patient: of a site that had no part in the training. Raises `RunRefused`
    where CT would take more than `most_bytes` of memory.
    """
    entries = tuple(_entries(library, studies, task))
    if task.model == CT and most_bytes is not None and sum(entry.image.nbytes for entry in entries) > most_bytes:
        raise RunRefused(problem=f"the CT of this site needs more than {most_bytes >> 20} MB of memory in that size")
    numbers = {patient: number for number, patient in enumerate(sorted({entry.patient for entry in entries}))}
    parts: dict[str, list[_Entry]] = {"training": [], "validation": [], "test": []}
    for entry in entries:
        parts["test" if all_test else _part(entry.patient, task)].append(entry)
    samples = {name: _samples(entries, numbers, task) for name, entries in parts.items()}
    return Split(**samples, patients=len(numbers))


def standardise(pixels: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    """An image of any size and scale as (size, size), clipped, averaged, mean 0 and deviation 1; a flat one is 0."""
    low, high = np.percentile(pixels, (1, 99))
    clipped = torch.from_numpy(np.clip(pixels, low, high).astype(np.float32))
    small = adaptive_avg_pool2d(clipped[None, None], size)[0, 0].numpy()
    deviation = float(small.std())
    return ((small - small.mean()) / deviation if deviation > 0 else np.zeros_like(small)).astype(np.float32)


def read_frontal(file: Path) -> npt.NDArray[np.float32] | None:
    """The pixels of a frontal radiograph, bright where dense; `None` for another view or kind.

    Raises `PixelsUnreadable`.
    """
    try:
        dataset = pydicom.dcmread(file)
        if dataset.get("Modality") not in MODALITIES or str(dataset.get("ViewPosition", "")).upper() in _LATERAL:
            return None
        pixels: npt.NDArray[np.float32] = dataset.pixel_array.astype(np.float32)
        if int(dataset.get("NumberOfFrames", 1) or 1) > 1:
            pixels = pixels[0]
        if int(dataset.get("SamplesPerPixel", 1) or 1) > 1:
            pixels = pixels.mean(axis=-1)
    except UNREADABLE as error:
        raise PixelsUnreadable(type(error).__name__) from error
    if not pixels.size or not np.isfinite(pixels).all():
        raise PixelsUnreadable("no finite pixels")
    inverted = dataset.get("PhotometricInterpretation") == "MONOCHROME1"  # PS3.3 C.7.6.3.1.2: 0 is white
    return pixels.max() - pixels if inverted else pixels


def _entries(library: Path, studies: Sequence[LibraryStudy], task: TrainingTask) -> Iterator[_Entry]:
    slices = task.model_options.slices if task.model == CT else None
    decoded = DecodedImages(library, task.image_size, slices)
    decoded.forget_all_but(studies)
    for study in studies:
        label = class_of((study.clinical or {}).get(task.label, ""))
        if label is None or not set(study.modalities) & set(MODALITIES if slices is None else ("CT",)):
            continue
        images = decoded.of(study, partial(_decode, library, task.image_size, slices)).images
        samples = images if slices is None or not len(images) else images[None]
        yield from (_Entry(study.patient, label, image) for image in samples)


def _decode(library: Path, size: int, slices: int | None, study: LibraryStudy) -> Decoded:
    """A study's frontal radiographs, or its slices; a file that cannot be read is counted, and ends no run."""
    if slices is not None:
        return read_volume(library / study.study, study, size, slices)
    images, unreadable = [], 0
    for instance in study.instances:
        try:
            pixels = read_frontal(library / study.study / instance.file)
        except PixelsUnreadable:
            unreadable += 1
            continue
        if pixels is not None and pixels.ndim == 2:
            images.append(standardise(pixels, size))
    return Decoded(np.stack(images) if images else np.zeros((0, size, size), np.float32), unreadable)


def _part(patient: PatientPseudonym, task: TrainingTask) -> str:
    draw = int.from_bytes(hashlib.sha256(f"split/{task.seed}/{patient}".encode()).digest()[:8]) / 2**64
    if draw < task.validation_share:
        return "validation"
    return "test" if draw >= 1 - task.test_share else "training"


def _samples(entries: Sequence[_Entry], numbers: Mapping[PatientPseudonym, int], task: TrainingTask) -> Samples:
    shape = (task.model_options.slices,) * (task.model == CT) + (task.image_size, task.image_size)
    return Samples(
        images=np.stack([entry.image for entry in entries]) if entries else np.zeros((0, *shape), np.float32),
        labels=np.array([entry.label for entry in entries], dtype=np.int64),
        patients=np.array([numbers[entry.patient] for entry in entries], dtype=np.int64),
    )
