"""What a plan asks for: the training of a network, or counts. Each type checks the ranges of its own values."""

import operator
import re
from typing import Literal

from pydantic import Field

from shared.federation.filter import Filter
from shared.federation.histogram import Histogram
from shared.frozen import Frozen
from shared.ids import Sha256
from shared.protocol.cohort import Mean, Table

CT = "ct-slices"  # the one model that learns from CT, and not from radiographs
MODEL_NAMES = ("small-cnn", CT)  # shared.federation.models.registry holds the networks; a test compares them
MONAI_NAMES = ("monai:DenseNet121", "monai:SegResNet")
_PACKAGE_MODEL = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*:[a-z0-9]+(-[a-z0-9]+)*")  # DISTRIBUTION:NAME
_MOST_PIXELS = 2**22  # of a batch of CT; training keeps some 200 bytes for each
MOST_IMAGES = 2**18  # of a site that count in an average
StatisticKind = Literal["cohort", "histograms", "tables", "means"]  # a whole definition, or parts that a plan names
StrategyName = Literal[
    "fedavg", "fedbn", "fedprox", "fedadam", "fedavgm", "fedyogi", "fedadagrad", "fedmedian", "fedtrimmedavg", "krum"
]
COMPARING = ("fedmedian", "fedtrimmedavg", "krum")  # strategies that look at single updates


class ModelOptions(Frozen):
    """Arguments of a network, within bounds; each only where the network has it."""

    dropout: float = Field(default=0.0, ge=0, le=0.9)
    filters: int = Field(default=8, ge=8, le=64, multiple_of=8)  # of the first layer
    slices: int = Field(default=16, ge=4, le=64, exclude_if=lambda slices: slices == 16)  # of a CT study
    pooling: Literal["mean", "max", "attention"] = Field(default="attention", exclude_if="attention".__eq__)


MODEL_OPTIONS = {CT: {"slices", "pooling"}, "monai:DenseNet121": {"dropout"}, "monai:SegResNet": {"dropout", "filters"}}


class EarlyStop(Frozen):
    """After how many rounds without a better validation figure a training ends; the best round's model is kept, too."""

    patience: int = Field(ge=1, le=100)  # rounds
    least_improvement: float = Field(default=0.0, ge=0, lt=1)  # of the AUC (without one, of the loss); not more is none


class Privacy(Frozen):
    """Differentially private training by DP-SGD (Abadi et al., CCS 2016), with one image of each patient."""

    noise_multiplier: float = Field(ge=0.3, le=100)  # deviation of the noise, in clip norms
    clip_norm: float = Field(default=1.0, gt=0, le=100)  # L2 of what one patient adds to a gradient
    batches: int = Field(default=10, ge=1, le=1000)  # of an epoch; by chance 1 in so many patients is in each


class CountPrivacy(Frozen):
    """Noise on every count of a statistics plan."""

    epsilon: float = Field(ge=0.01, le=10)  # of the whole release, at each site


class TrainingTask(Frozen):
    """What is learned: `label` is a field of the clinical dictionary whose value is yes or no."""

    model: str = MODEL_NAMES[0]
    package: Sha256 | None = None  # of a model `DISTRIBUTION:NAME`, the digest of that installed wheel's files
    model_options: ModelOptions = ModelOptions()
    norm: Literal["group", "batch"] = "group"  # kind of norm layers; a package's network has its own
    label: str = Field(default="pneumonia", pattern=r"^[a-z][a-z0-9_]{0,63}$")
    image_size: int = Field(default=64, ge=32, le=256, multiple_of=16)  # pixels of each side after resampling
    rounds: int = Field(default=3, ge=1, le=500)
    early_stop: EarlyStop | None = Field(default=None, exclude_if=operator.not_)  # none: every round is trained
    local_epochs: int = Field(default=4, ge=1, le=50)
    batch_size: int = Field(default=8, ge=1, le=1024)
    privacy: Privacy | None = Field(default=None, exclude_if=operator.not_)  # its `batches` stand for `batch_size`
    optimizer: Literal["sgd", "adam"] = "adam"
    learning_rate: float = Field(default=0.002, gt=0, le=10)
    strategy: StrategyName = "fedavg"
    masked: bool = True  # each site's update goes into a secure sum; without, only where a site's policy allows it
    server_learning_rate: float = Field(default=0.01, gt=0, le=10)  # of the strategies that have a server optimiser
    proximal_mu: float = Field(default=0.0, ge=0, le=100)  # FedProx only
    maximum_images: int = Field(
        default=10_000, ge=1, le=MOST_IMAGES
    )  # a site with more weighs as much as one with these
    update_norm: float = Field(default=1000.0, gt=0, le=1e6)  # L2; a site scales a larger change of the model to it
    validation_share: float = Field(default=0.25, gt=0, lt=1)  # of the patients
    test_share: float = Field(default=0.2, ge=0, lt=1)  # of the patients; the finished models alone see these, once
    specificity: float = Field(default=0.9, gt=0, lt=1)  # on the validation patients: there the test's threshold lies
    baseline: bool = False  # each site also trains alone, for as many steps, and tells the test's AUC of that model
    seed: int = Field(default=0, ge=0, lt=2**31)
    site_metrics: bool = True  # ask for figures of each site, not only pooled ones
    minimum_cases: int = Field(default=11, ge=1)  # of each class at a site, or its figures stay there
    filter: tuple[Filter, ...] = Field(default=(), max_length=10, exclude_if=operator.not_)  # none: the whole cohort


class StatisticsTask(Frozen):
    """What is counted: a cohort definition of the protocol by name; `options` is canonical JSON for it.

    With histograms or tables, those of the definition's and the dictionary's variables, and not the whole of it. A
    table's variable is sorted as in its first histogram, else into its own categories.
    """

    cohort: str = Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")
    policy: str = Field(default="cms-11", pattern=r"^[a-z0-9-]{1,63}$")
    options: str = Field(default="{}", max_length=65536)
    histograms: tuple[Histogram, ...] = Field(default=(), max_length=20, exclude_if=operator.not_)
    tables: tuple[Table, ...] = Field(default=(), max_length=10, exclude_if=operator.not_)
    means: tuple[Mean, ...] = Field(
        default=(), max_length=10, exclude_if=operator.not_
    )  # each beside a histogram of it
    privacy: CountPrivacy | None = Field(default=None, exclude_if=operator.not_)
    filter: tuple[Filter, ...] = Field(default=(), max_length=10, exclude_if=operator.not_)  # none: the whole cohort

    @property
    def kinds(self) -> tuple[StatisticKind, ...]:
        """What a site's policy allows or not."""
        named: tuple[tuple[StatisticKind, object], ...] = (
            ("histograms", self.histograms),
            ("tables", self.tables),
            ("means", self.means),
        )
        return tuple(kind for kind, asked in named if asked) or ("cohort",)


def model_rules(task: TrainingTask) -> tuple[tuple[bool, str], ...]:
    """What is wrong where it holds, and how a person is told: a network and its options, and what privacy allows."""
    shipped = task.model in (*MODEL_NAMES, *MONAI_NAMES)
    chosen = task.model_options.model_dump(exclude_defaults=True)
    return (
        (not shipped and _PACKAGE_MODEL.fullmatch(task.model) is None, "there is no model of that name"),
        (shipped == (task.package is not None), "`package` stands with the model of a package, and always there"),
        (
            task.model == CT and task.batch_size * task.model_options.slices * task.image_size**2 > _MOST_PIXELS,
            "a batch of so many slices of that size is too large for a site's memory",
        ),
        (bool(set(chosen) - MODEL_OPTIONS.get(task.model, set())), "that model has no such option"),
        *(_privacy_rules(task) if task.privacy is not None else ()),
    )


def _privacy_rules(task: TrainingTask) -> tuple[tuple[bool, str], ...]:
    return (
        (task.model != MODEL_NAMES[0], "`privacy` is for the model `small-cnn` only"),
        (task.norm == "batch", "batch norms mix patients, so there is no privacy with them"),
        (task.strategy == "fedprox", "`privacy` knows no proximal term"),
        (task.baseline, "a model of each site alone (`baseline`) would have no privacy"),
    )
