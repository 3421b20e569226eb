"""What the search for text in pixels sees, where it loses what it does not, and what that costs: tables.

`python -m tests.benchmarks.recall --count 40 --clean 40 --seed 1` burns texts anew into public films and CT slices of
`../shared/data`, each of its own seed. A text is lost where its strokes are not looked at (`place`), where the detector
does not see it there (`detector`), or where it is seen and held for a marker or for none (`rules`).
"""

import argparse
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from site_node.pixels.box import Box
from site_node.pixels.contrast import Stored
from site_node.pixels.detect import TextFinder, box_around
from site_node.pixels.rules import load_rules
from tests.factories.burned import Burned, burn, covered
from tests.factories.clean_pictures import (
    CT_FILES,
    CXR,
    Values,
    drawn_slices,
    enlarged,
    enlarged_film,
    scanned,
    scanned_slices,
    soft_slices,
)

SLICES: dict[str, Callable[..., list[Values]]] = {
    "scanned slice": scanned_slices,
    "soft slice": soft_slices,
    "drawn slice": drawn_slices,
}
CONTRASTS = (0.05, 0.1, 0.2, 0.5)
COLUMNS = ("kind", "contrast", "noise", "size", "script", "degrees", "style")


class Trial(NamedTuple):
    """A text, what it was burned into, and `seen` or how it was lost; the part of its ink that blanking leaves."""

    kind: str
    text: Burned
    outcome: str
    left: float


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40, help="texts on films, and on slices of each kind")
    parser.add_argument("--clean", type=int, default=40, help="films without text")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--contrast", type=float, nargs="*", default=CONTRASTS)
    parser.add_argument("--kind", nargs="*", default=["film", *SLICES])
    parser.add_argument("--fonts", type=Path, default=Path("/usr/share/fonts/truetype"), help="more fonts")
    parser.add_argument("--missed", action="store_true", help="list each text that was lost")
    for line in _lines(parser.parse_args()):
        sys.stdout.write(f"{line}\n")


def _lines(asked: argparse.Namespace) -> Iterable[str]:
    finder = TextFinder(load_rules())
    trials = [
        try_text(finder, kind, (asked.seed, number), asked.contrast[number % len(asked.contrast)], asked.fonts)
        for kind in asked.kind
        for number in range(asked.count)
    ]
    yield from tables(trials)
    if asked.missed:
        yield from (f"{trial.outcome} {trial.kind} {trial.text}" for trial in trials if trial.outcome != "seen")
    yield from alarms(finder, asked.clean, asked.seed)
    yield f"memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB"


def try_text(finder: TextFinder, kind: str, seed: Sequence[int], contrast: float, fonts: Path) -> Trial:
    """Burn a text into a film, or into one slice of a stack, and look for it."""
    rng = np.random.default_rng(seed)
    if kind == "film":
        clean = enlarged_film(rng)
        values, text = burn(clean, rng, contrast, more=fonts)
        stored = values.clip(0, 4095).astype(np.uint16)
        boxes = finder.find(stored)
        outcome = _outcome(finder, stored, text, boxes)
    else:
        stack = SLICES[kind](rng)
        place = int(rng.integers(1, len(stack) - 1))
        clean = stack[place]
        stack[place], text = burn(clean, rng, contrast, most=40, more=fonts)
        values = stack[place]
        stored_stack = [values.astype(np.int16) for values in stack]
        boxes = finder.find_in_stack(stored_stack, {place})[place]
        outcome = "seen"
        if not covered(text, boxes):
            alone = covered(text, finder.find(stored_stack[place]))
            outcome = "stack" if alone else _outcome(finder, stored_stack[place], text, boxes)
    ink = np.abs(values - clean)
    whole = float(ink.sum()) or 1.0
    for box in boxes:
        ink[box.top : box.bottom, box.left : box.right] = 0
    return Trial(kind, text, outcome, float(ink.sum()) / whole if outcome == "seen" else 1.0)


def _outcome(finder: TextFinder, stored: Stored, text: Burned, boxes: Iterable[Box]) -> str:
    if covered(text, boxes):
        return "seen"
    regions = [box_around(region, 0, stored.shape) for region in finder._texts(stored)]
    regions = [box for box in regions if box.bottom - box.top < stored.shape[0] // 2]  # one of all the picture is none
    if covered(text, regions):
        return "rules"
    left, top, right, bottom = text.box
    near = Box(max(0, left - 32), max(0, top - 32), right + 32, bottom + 32)
    closely = [box_around(region, 0, stored.shape) for region in finder._thin(stored, near)]
    return "place" if covered(text, closely) else "detector"


def _order(value: object) -> tuple[float, str]:
    return (float(value), "") if isinstance(value, (int, float)) else (0, str(value))


def _value(trial: Trial, column: str) -> object:
    if column == "kind":
        return trial.kind
    if column == "noise":
        return max(least for least in (0, 2, 4, 8, 16, 32) if least <= trial.text.noise)
    return getattr(trial.text, column)


def tables(trials: Sequence[Trial]) -> Iterable[str]:
    """Recall by each column, at contrasts that the promise is for and below."""
    for column in COLUMNS:
        whole, lost = Counter[object](), dict[object, Counter[str]]()
        for trial in trials:
            value = _value(trial, column)
            if column != "contrast" and trial.text.contrast < 0.1:
                continue
            whole[value] += 1
            lost.setdefault(value, Counter())[trial.outcome] += 1
        yield f"\nrecall by {column}" + ("" if column == "contrast" else ", contrast of 0.1 or more")
        for value in sorted(whole, key=_order):
            seen = lost[value].pop("seen", 0)
            causes = ", ".join(f"{cause} {count}" for cause, count in sorted(lost[value].items()))
            yield f"  {value!s:14} {seen:4} of {whole[value]:4}  {seen / whole[value]:.3f}  {causes}"
    seen_left = [trial.left for trial in trials if trial.outcome == "seen"]
    yield f"\nink left by blanking: {sum(left > 0.02 for left in seen_left)} of {len(seen_left)} more than 2 %"


def alarms(finder: TextFinder, count: int, seed: int) -> Iterable[str]:
    """What is found on public films, small and enlarged, and on public CT slices and stacks; the seconds of CPU."""
    rng = np.random.default_rng(seed)
    files = rng.permutation(np.array(sorted(CXR.glob("*.jpg"))))[:count]
    yield "\nalarms"
    small = ((file.name, [np.asarray(Image.open(file).convert("L"))]) for file in files)
    yield from _alarms("films of 224 rows", finder, small)
    large = ((file.name, [enlarged(file, rng).clip(0, 4095).astype(np.uint16)]) for file in files)
    yield from _alarms("films of 2048 rows", finder, large)
    yield from _alarms("CT slices", finder, ((name, [scanned(name)]) for name in CT_FILES))
    for kind, make in SLICES.items():
        stacks = (make(np.random.default_rng((seed, number)), 32) for number in range(count // 10))
        stored = (("", [each.astype(np.int16) for each in stack]) for stack in stacks)
        yield from _alarms(f"stacks of 32, {kind}, without ends", finder, stored)


def _alarms(kind: str, finder: TextFinder, stacks: Iterable[tuple[str, Sequence[Stored]]]) -> Iterable[str]:
    alarmed, frames, whole, spent = 0, 0, 0, 0.0
    for name, stack in stacks:
        before = time.process_time()
        wanted = range(1, len(stack) - 1) if len(stack) > 1 else (0,)
        boxes = [tuple(box) for each in finder.find_in_stack(stack, wanted) for box in each]
        spent += time.process_time() - before
        frames, whole, alarmed = frames + len(stack), whole + 1, alarmed + bool(boxes)
        if boxes:
            yield f"    {name} {boxes}"
    yield f"  {kind}: {alarmed} of {whole}; {spent / max(1, frames):.3f} s of CPU a frame"


if __name__ == "__main__":
    main()
