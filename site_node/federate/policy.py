"""The site's policy on federated work: what `federation-policy.toml` does not allow is refused before anything runs.

Every message is checked by itself: the bundle's digest by the executor, then the signed plan, the agreement's modes and
its end, the kind of message and its round, then, after the answer is computed, the records and bytes that would leave.
`site_node.federate.rounds` limits how often a round is answered.
"""

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from shared.agreement import Mode
from shared.durable import write_whole
from shared.errors.federation import RunRefused
from shared.errors.inputs import InvalidArgument
from shared.errors.settings import PolicyMissing, SettingsMissing
from shared.federation.bundle import bundle_digest
from shared.federation.cell_policy import CellPolicy
from shared.federation.plan import ALONE, LEAST_SITES, TESTS, Plan, Purpose
from shared.federation.task import MODEL_NAMES, StatisticKind, TrainingTask
from shared.frozen import Frozen
from shared.ids import Sha256, SiteId
from shared.settings import load_settings

_HOURS = r"^(([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d)?$"  # as 18:00-06:00
POLICY_FILE = "federation-policy.toml"
_SKEW = timedelta(minutes=5)  # between two clocks
KINDS = {"training": ("train", "evaluate", *TESTS, ALONE), "evaluation": ("evaluate",), "statistics": ("query",)}
MODES = {
    "training": {Mode.TRAINING},
    "evaluation": {Mode.TRAINING},
    "statistics": {Mode.COHORT, Mode.STATISTICS},
}  # any of them covers the purpose


class SitePolicy(Frozen):
    """What this site takes part in. An empty list allows nothing."""

    bundles: tuple[Sha256, ...] = ()  # SHA-256 of the FABs that may run here
    purposes: tuple[Purpose, ...] = ()
    models: tuple[str, ...] = ()
    packages: tuple[Sha256, ...] = ()  # wheels whose networks may be trained here, by the digest of their files
    labels: tuple[str, ...] = ()  # clinical fields that may be learned; empty: every one of the dictionary
    max_rounds: int = Field(default=20, ge=1)
    minimum_sites: int = Field(default=LEAST_SITES, ge=LEAST_SITES)
    minimum_cases: int = Field(default=11, ge=1)  # of each class, before a figure of this site alone may leave
    site_metrics: bool = True  # whether a figure of this site alone may leave at all
    statistics: tuple[StatisticKind, ...] = ("cohort",)  # a policy from before allowed the whole cohort's table only
    small_cells: str = "cms-11"  # the weakest policy by which cohort tables that this site is in may hide small cells
    minimum_patients: int = Field(default=20, ge=1)  # with label and radiograph, or of a histogram: else nothing
    ask: Literal["never", "training", "always"] = "never"  # which plans, of those allowed, wait for a person's approval
    hours: str = Field(default="", pattern=_HOURS)  # of this machine's time; empty: at any time
    plans_per_month: int = Field(default=0, ge=0)  # trainings of each label in a calendar month; 0: any number
    private: bool = False  # whether every training must be differentially private
    epsilon: float = Field(default=8.0, gt=0)  # that private trainings of a label may spend in all; see privacy.py
    parts: bool = False  # whether a training may be of a part of the cohort (`filter`): see `default_policy`
    unmasked: bool = False  # whether weights of this site alone may leave: class counts can be worked out from them
    max_answer_bytes: int = Field(default=256 * 1024 * 1024, ge=1)
    max_task_mb: int = Field(default=4096, ge=512)  # of memory, the worker's own 300 among them
    max_task_seconds: int = Field(default=3600, ge=1)  # of CPU, and of time
    colluders: int = Field(default=1, ge=0)  # known peers that may side with the coordinator in a secure sum
    pins: dict[SiteId, str] = Field(default_factory=dict)  # fingerprints of peers, exchanged out of band

    @field_validator("small_cells")
    @classmethod
    def _names_a_policy(cls, name: str) -> str:
        try:
            return CellPolicy.named(name).name
        except InvalidArgument as error:
            raise ValueError("it is none of cms-11, nhs-7-round-5, min-k (such as min-5)") from error

    @field_validator("pins")
    @classmethod
    def _are_fingerprints(cls, pins: dict[SiteId, str]) -> dict[SiteId, str]:
        for site, fingerprint in pins.items():
            if not re.fullmatch("SHA256:[A-Za-z0-9+/]{43}", fingerprint):
                raise ValueError(f"that of {site} is no fingerprint as `ricord-site key fingerprint` shows it")
        return pins


def load_policy(path: Path) -> SitePolicy:
    """Read the policy; raises the errors of `shared.settings.load_settings`, and `PolicyMissing`."""
    try:
        return load_settings(path, SitePolicy, program="ricord-site")
    except SettingsMissing as error:
        raise PolicyMissing(file=str(path)) from error


def default_policy() -> str:
    """The text of a first policy: this release's bundle, counting, training, the shipped models, no pins."""
    quoted = ", ".join(f'"{name}"' for name in MODEL_NAMES)
    return f"""\
# What this site takes part in. Everything that is not allowed here is refused, visibly, with "SITE_POLICY: ...".
bundles = ["{bundle_digest()}"]  # SHA-256 of the FABs that may run here; this one carries no code
purposes = ["statistics", "training"]  # also "evaluation": of models that other sites trained, on patients here
models = [{quoted}]
packages = []            # SHA-256 of the wheels whose networks may be trained here, beside their names under `models`
labels = []              # clinical fields that may be learned; empty: every one of the dictionary
max_rounds = 20
ask = "never"            # which plans wait for a person (`ricord-site federate pending`): never, training or always
hours = ""               # when plans are answered, by this machine's clock, such as "18:00-06:00"; empty: always
plans_per_month = 0      # trainings of each label in a calendar month; 0: any number
minimum_sites = {LEAST_SITES}        # with pins below, only pinned peers (and this site) count
minimum_cases = 11       # of each class, before a figure of this site alone may leave
site_metrics = true      # whether a figure of this site alone may leave at all
statistics = ["cohort", "histograms", "tables", "means"]  # a cohort's whole table; parts that a plan names
small_cells = "cms-11"   # cohort tables hide at least what this policy hides: cms-11, nhs-7-round-5 or min-k
minimum_patients = 20    # with the label and a radiograph, or this site trains nothing; in histograms and tables
private = false          # whether every training must be differentially private
epsilon = 8.0            # of differential privacy that all trainings of a label may spend here, at a delta of 1e-6
parts = false            # whether a training may be of a part of the cohort (`filter`): of several such runs the pooled
                         # numbers of patients in a small part can be worked out
unmasked = false         # whether weights of this site alone may leave: class counts can be worked out from them
max_answer_bytes = 268435456
max_task_mb = 4096       # of memory for the answer to one message
max_task_seconds = 3600  # of CPU and of time for it
colluders = 1            # known peers that may side with the coordinator in a secure sum

[pins]                   # SITEID = "SHA256:..." of each peer, exchanged by telephone or paper, not by the coordinator
"""


def write_default_policy(path: Path) -> None:
    """Write the first policy, unless there is one already."""
    if not path.exists():
        write_whole(path, default_policy().encode(), mode=0o600)


def check_witness(contradiction: Path) -> None:
    """Raise `RunRefused` while there is a contradiction in what the coordinator signed, for which nothing is sent."""
    if contradiction.exists():
        raise RunRefused(problem="the coordinator's audit log contradicts what the coordinator signed before")


def check_bundle(policy: SitePolicy, digest: str) -> None:
    """Raise `RunRefused` unless the policy lists this FAB; called before its content is read."""
    if digest not in policy.bundles:
        raise RunRefused(problem="this bundle's digest is not on the site's list")


def check_message(
    policy: SitePolicy,
    plan: Plan,
    *,
    site_id: SiteId,
    fingerprint: str,
    protocol_digest: str,
    modes: Collection[Mode],
    agreement_expires_at: datetime | None,
    kind: str,
    server_round: int | None,
) -> None:
    """Raise `RunRefused` unless policy and agreement allow a message of `kind` in round `server_round` (0: no round).

    `None`: the message asks only whether the site takes part.

    The plan's signature must have been verified before. `modes` and `agreement_expires_at` are those of the agreement
    that this site signed, whatever the coordinator holds now.
    """
    now = datetime.now(UTC)
    task, training, asks = plan.learning, plan.training, server_round is None
    own = next((member for member in plan.sites if member.site_id == site_id), None)
    rules = (
        (own is None, "this site is not on the plan's roster"),
        (own is not None and own.fingerprint != fingerprint, "the roster names another key for this site"),
        (plan.protocol_digest != protocol_digest, "the plan is for another edition of the protocol"),
        (not MODES[plan.purpose] & set(modes), f"the agreement does not cover the purpose {plan.purpose}"),
        (agreement_expires_at is not None and agreement_expires_at <= now, "the agreement has expired"),
        (plan.created_at > now + _SKEW, "the plan is from the future"),
        (plan.expires_at <= now, "the plan has expired"),
        (plan.purpose not in policy.purposes, f"the purpose {plan.purpose} is not allowed"),
        (
            not asks and kind not in KINDS[plan.purpose],
            f"a {kind} message does not belong to the purpose {plan.purpose}",
        ),
        *(
            (kind not in policy.statistics, f"statistics of the kind {kind} are not allowed")
            for kind in (plan.statistics.kinds if plan.statistics else ())
        ),
        (task is not None and task.model not in policy.models, "the model is not allowed"),
        (
            task is not None and task.package is not None and task.package not in policy.packages,
            "the model's package is not on the site's list",
        ),
        (task is not None and bool(policy.labels) and task.label not in policy.labels, "the label is not allowed"),
        (task is not None and bool(task.filter) and not policy.parts, "a part of the cohort (`filter`) is not allowed"),
        (training is not None and not training.masked and not policy.unmasked, "training without masks is not allowed"),
        (
            training is not None and policy.private and training.privacy is None,
            "training without differential privacy is not allowed",
        ),
        (training is not None and training.rounds > policy.max_rounds, f"more than {policy.max_rounds} rounds"),
        (task is not None and kind == ALONE and not task.baseline, "the plan asks for no model of this site alone"),
        (task is not None and server_round not in {None, *range(1, task.rounds + 1)}, "the round is outside the plan"),
        (plan.minimum_sites < policy.minimum_sites, f"fewer than {policy.minimum_sites} sites would do for the plan"),
    )
    problem = next((text for wrong, text in rules if wrong), None) or _pins(policy, plan, site_id)
    if problem is not None:
        raise RunRefused(problem=problem)


def _pins(policy: SitePolicy, plan: Plan, site_id: SiteId) -> str | None:
    """With pins, a pinned peer under another key is refused, and only pinned peers count towards the minimum."""
    if not policy.pins:
        return None
    peers = [member for member in plan.sites if member.site_id != site_id]
    pinned = [member for member in peers if member.site_id in policy.pins]
    if any(policy.pins[member.site_id] != member.fingerprint for member in pinned):
        return "a pinned site appears under another key"
    if len(pinned) + 1 < policy.minimum_sites:
        return f"fewer than {policy.minimum_sites} of the sites are known here"
    return None


def may_report_figures(policy: SitePolicy, plan: Plan, cases: tuple[int, int]) -> bool:
    """Whether figures of this site alone may leave: plan and policy want them, and each class has enough cases."""
    task = plan.learning
    return task is not None and task.site_metrics and policy.site_metrics and min(cases) >= least_cases(policy, task)


def least_cases(policy: SitePolicy, task: TrainingTask) -> int:
    """Of each class, before a figure of this site alone may leave."""
    return max(task.minimum_cases, policy.minimum_cases)


def check_size(policy: SitePolicy, size: int) -> None:
    """Raise `RunRefused` for an answer of `size` bytes when that is more than may leave."""
    if size > policy.max_answer_bytes:
        limit = f"`max_answer_bytes` is {policy.max_answer_bytes}"
        raise RunRefused(problem=f"an answer of {size} bytes is more than may leave ({limit})")


def check_patients(policy: SitePolicy, patients: int) -> None:
    """Raise `RunRefused` when too few patients of this site would take part in a training."""
    if patients < policy.minimum_patients:
        raise RunRefused(problem=f"fewer than {policy.minimum_patients} patients here have that label and such images")
