"""`python -m tests.benchmarks.learning DATA`: what federated learning reaches on films of four natural sites.

`DATA` holds `metadata.csv` and `images/` (the shared data's `cxr`). Each arm is a run of the engine over real client
apps, without sockets, for three seeds. The label is `pneumonia`; two of the sites have one class only, so an arm's
figure is the mean AUC of the test patients of the other two, each within its site: between sites the source alone tells
the label. Intervals and differences are over patients, drawn once for all arms and seeds.
"""

import csv
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from coordinator.federation.checkpoints import load_checkpoint
from coordinator.federation.grid import RosterGrid
from coordinator.federation.training import run_training
from shared.crypto.signing import SigningKey
from shared.federation.plan import PlanRequest, complete_plan, sign_plan
from shared.federation.privacy import DELTA, charge_of, epsilon_of
from shared.federation.records import Vector
from shared.federation.task import Privacy, TrainingTask
from shared.ids import PatientPseudonym, Sha256, Uid
from site_node.federate.dataset import load_split
from site_node.federate.figures import Scores, scores_of
from site_node.federate.local_layers import LocalLayers
from site_node.federate.site import FederateSettings
from site_node.federate.training import train_alone
from site_node.home.library import LibraryInstance, LibrarySeries, LibraryStudy, add_study, load_library
from tests.factories.local_grid import LocalGrid
from tests.factories.site_homes import PROTOCOL, make_site, member_of, set_policy, signer_for, write_radiograph

KEY = SigningKey.generate()
SEEDS = (0, 1, 2)
TASK = TrainingTask(image_size=32, rounds=8, local_epochs=2, batch_size=16, learning_rate=0.002, minimum_cases=11)
PRIVACY = Privacy(noise_multiplier=1.0)
ARMS: Mapping[str, dict[str, object]] = {
    "FedAvg, masked": {},
    "FedAvg, unmasked": {"masked": False},
    "FedAvg, batch norms": {"norm": "batch"},
    "FedBN": {"norm": "batch", "strategy": "fedbn"},
    "FedAvg, private": {"privacy": PRIVACY},
}
BASE = "FedAvg, masked"
RESAMPLES = 1000
Sites = dict[str, FederateSettings]
Scored = dict[tuple[str, int, str], Scores]  # by arm, seed and site


def main(data: Path) -> None:
    """Run every arm, and print the table."""
    scored: Scored = {}
    last: dict[tuple[str, int], Vector] = {}
    seconds = defaultdict[str, float](float)
    with tempfile.TemporaryDirectory() as folder:
        sites = made_sites(data, Path(folder))
        for seed in SEEDS:
            for arm, changes in ARMS.items():
                start = time.monotonic()
                task = TASK.model_copy(update={**changes, "seed": seed})
                last[arm, seed], scores = federated(sites, task, Path(folder))
                scored |= {(arm, seed, name): those for name, those in scores.items()}
                seconds[arm] += time.monotonic() - start
            for arm, names in {"local": None, "pooled": list(sites)}.items():
                start = time.monotonic()
                task = TASK.model_copy(update={"seed": seed})
                scored |= {(arm, seed, name): scores for name, scores in without_a_federation(sites, task, names)}
                seconds[arm] += time.monotonic() - start
            sys.stderr.write(f"seed {seed}: {sum(seconds.values()):.0f} s\n")
    show(scored, seconds)
    apart = max(np.abs(last[BASE, seed] - last["FedAvg, unmasked", seed]).max() for seed in SEEDS)
    sys.stdout.write(f"Masked and unmasked FedAvg differ by at most {apart:.1e} in a weight of the last model.\n")
    epsilon = epsilon_of([charge_of(TASK, PRIVACY, rounds=TASK.rounds)])
    sys.stdout.write(f"A private run costs each site an epsilon of {epsilon:.1f} at a delta of {DELTA:g}.\n")


def made_sites(data: Path, folder: Path) -> Sites:
    """A site's home for each source that has films with the label."""
    rows = defaultdict[str, list[dict[str, str]]](list)
    for row in csv.DictReader((data / "metadata.csv").open(encoding="utf-8")):
        if row["pneumonia"]:
            rows[row["source"]].append(row)
    sites = {}
    for number, (source, films) in enumerate(sorted(rows.items())):
        sites[source] = site = make_site(folder / source, f"{200000 + number}", KEY, images=0)
        set_policy(site, unmasked=True, epsilon=100.0)
        numbers, patients = count(), dict[str, int]()
        for row in films:
            patient = patients.setdefault(row["patient_id"], len(patients))
            add_film(site, data / row["file"], patient, row, next(numbers))
    return sites


def add_film(site: FederateSettings, image: Path, patient: int, row: Mapping[str, str], number: int) -> None:
    """Put a film into a site's library, at a fourth of its size."""
    study, file = Uid(f"2.25.{int(site.site_id)}{number:06d}"), site.library.parent / "film.dcm"
    site.library.mkdir(exist_ok=True)
    pixels = np.asarray(Image.open(image).convert("L").resize((160, 160)), dtype=np.uint16)
    write_radiograph(file, pixels, view="AP" if row["view"].startswith("AP") else "PA")
    instance = LibraryInstance(file="film.dcm", sop_instance_uid=study, series=study, sha256=Sha256("0" * 64))
    record = LibraryStudy(
        study=study,
        patient=PatientPseudonym(f"{site.site_id}-{patient:06d}"),
        modalities=("DX",),
        series=(LibrarySeries(uid=study, modality="DX", instance_count=1),),
        instances=(instance,),
        clinical={"pneumonia": "yes" if row["pneumonia"] == "1" else "no"},
    )
    add_study(site.library, record, {"film.dcm": file})
    file.unlink()  # the library holds it by a link


def federated(sites: Sites, task: TrainingTask, folder: Path) -> tuple[Vector, dict[str, Scores]]:
    """Train over all sites: the last model, and the scores of each site's test patients by the best, as they had it."""
    members = tuple(member_of(site) for site in sites.values())
    plan = complete_plan(PlanRequest(purpose="training", training=task), members=members, protocol_digest=PROTOCOL)
    nodes = {site.site_id: number for number, site in enumerate(sites.values(), 10)}
    local = LocalGrid(dict(zip(nodes.values(), sites.values(), strict=True)))
    grid = RosterGrid(local, plan, sign_plan(plan, KEY), lambda: nodes, signer_for(KEY, sites.values()))
    result = run_training(grid, folder / plan.run)
    best = result.best or task.rounds
    state, scores = load_checkpoint(folder / plan.run, best, task), dict[str, Scores]()
    for name, site in sites.items():
        model = LocalLayers(site.folder, plan, task).model_of(state, after=best)
        scores[name] = scores_of(model, load_split(site.library, load_library(site.library), task).test, task)
    return load_checkpoint(folder / plan.run, task.rounds, task), scores


def without_a_federation(sites: Sites, task: TrainingTask, pooled: list[str] | None) -> Iterator[tuple[str, Scores]]:
    """Each site's test patients with a model of its own films, or of the films of all `pooled` sites in one place."""
    splits = {name: load_split(site.library, load_library(site.library), task) for name, site in sites.items()}
    shared = None
    if pooled is not None:
        parts = [[splits[name].training for name in pooled], [splits[name].validation for name in pooled]]
        training, validation = (type(part[0])(*map(np.concatenate, zip(*part, strict=True))) for part in parts)
        shared = train_alone(training, validation, task)
    for name, split in splits.items():
        yield name, scores_of(shared or train_alone(split.training, split.validation, task), split.test, task)


def area(scores: Scores, times: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float:
    """The AUC where each patient counts `times`; not a number without both classes."""
    _, place = np.unique(scores.probabilities, return_inverse=True)
    wins, losses = (
        np.bincount(place, weights=times[scores.patients] * (scores.labels == label), minlength=place.max() + 1)
        for label in (1, 0)
    )
    pairs = wins.sum() * losses.sum()
    return float((wins * (np.cumsum(losses) - losses / 2)).sum() / pairs) if pairs else float("nan")


def show(scored: Scored, seconds: Mapping[str, float]) -> None:
    """One row for each arm: AUC in each site, their mean, and the difference from masked FedAvg, with intervals."""
    names = sorted({name for _, _, name in scored})
    both = [name for name in names if {*scored[BASE, SEEDS[0], name].labels.tolist()} == {0, 1}]
    both = [name for name in both if min(np.bincount(scored[BASE, SEEDS[0], name].labels)) >= TASK.minimum_cases]
    random = np.random.default_rng(0)
    table = Table("arm", *both, "mean", f"minus {BASE}", "s", title="AUC of test patients, three seeds, 95 % intervals")
    draws = []
    for resample in range(RESAMPLES + 1):
        areas = {}
        for name in both:
            patients = 1 + max(scored[BASE, seed, name].patients.max() for seed in SEEDS)
            drawn = np.bincount(random.integers(0, patients, patients), minlength=patients)
            times = drawn if resample else np.ones(patients, np.int64)
            for arm in (*ARMS, "local", "pooled"):
                areas[arm, name] = np.mean([area(scored[arm, seed, name], times) for seed in SEEDS])
        draws.append(areas)
    for arm in (*ARMS, "local", "pooled"):
        means = [np.mean([areas[arm, name] for name in both]) for areas in draws]
        base = [np.mean([areas[BASE, name] for name in both]) for areas in draws]
        cells = [spread([areas[arm, name] for areas in draws]) for name in both]
        difference = "" if arm == BASE else spread(np.subtract(means, base), sign="+")
        table.add_row(arm, *cells, spread(means), difference, f"{seconds[arm]:.0f}")
    Console(width=160).print(table)


def spread(values: "np.typing.ArrayLike", sign: str = "") -> str:
    """The first value, and the interval of the others."""
    first, *others = np.asarray(values, dtype=float).tolist()
    low, high = np.nanquantile(others, (0.025, 0.975))
    return f"{first:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
