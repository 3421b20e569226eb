"""The site's Flower app: trains, evaluates and counts, after the site's policy has checked the message.

The policy wraps the app as a Flower mod, so it applies whatever executes the app. A refusal is a visible error
reply `SITE_POLICY: …`; any other failure names its public sentence only, since a foreign exception's text might quote
a value.
"""

from datetime import datetime
from functools import cache, partial

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable

from shared.crypto.keys import load_signing
from shared.errors.base import RicordError
from shared.errors.federation import RunRefused, RunWaits
from shared.federation import records
from shared.federation.asked import DENSITY
from shared.federation.cell_policy import CellPolicy
from shared.federation.models.registry import state_length
from shared.federation.plan import ALONE, BEST, LAST, TESTS, Plan, verify_plan
from shared.federation.proposal import check_asked
from shared.federation.records import Vector
from shared.federation.secure_sum.client import SumClient
from shared.federation.secure_sum.memory import FileMemory
from shared.federation.secure_sum.policy import SumPolicy
from shared.federation.task import TrainingTask
from site_node.federate import statistics
from site_node.federate.counting import part_of
from site_node.federate.dataset import Split, load_split
from site_node.federate.decisions import check_budget, check_decided, gives
from site_node.federate.density import with_densities
from site_node.federate.figures import own_figures, scores_of
from site_node.federate.local_layers import LocalLayers
from site_node.federate.masked import Best, Elsewhere, Evaluated, Last, MaskedPart, Update
from site_node.federate.packing import FAILED, REFUSED, refusal
from site_node.federate.policy import SitePolicy, check_message, check_patients, check_size, may_report_figures
from site_node.federate.rounds import claim_round, took_part
from site_node.federate.site import CONTEXT_KEY, Admitted, FederateSettings, SiteContext, from_context
from site_node.federate.training import clipped, evaluate, train, train_alone

_NUMBER_BYTES = 4  # of a model that leaves without masks


def policy_gate(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Let the message through only when the policy allows it, and its answer only when that may leave."""
    try:
        given = from_context(context.node_config, SiteContext)
        site, policy = given.site, given.policy
        plan = plan_of(message, site)
        kind = message.metadata.message_type
        config = message.content[records.CONFIG]
        server_round, stage = int(config.get(records.ROUND, 0)), str(config.get(records.STAGE))
        asks = stage == records.READY
        check_message(
            policy,
            plan,
            site_id=site.site_id,
            fingerprint=load_signing(site.signing_key).fingerprint,
            protocol_digest=site.protocol_digest,
            modes=site.modes,
            agreement_expires_at=site.agreement_expires_at,
            kind=kind,
            server_round=None if asks and kind == "query" else server_round,
        )
        check_decided(policy, plan, given.decisions, datetime.now().astimezone())
        if asks or kind == "train" or gives(plan, kind, stage):
            check_budget(policy, plan, given.decisions, answers=gives(plan, kind, stage))
        if asks and kind == "query":
            return Message(RecordDict({records.CONFIG: ConfigRecord({records.PAYLOAD: b""})}), reply_to=message)
        claim_round(site.folder, plan.run, _claimed(kind, message, plan), server_round if kind in _ROUNDS else 0)
        context.node_config = {CONTEXT_KEY: Admitted(**dict(given), plan=plan)}
        reply = call_next(message, context)
        check_answer(reply, plan, policy)
    except RunWaits as error:
        return refusal(message, records.WAITS + error.fields["problem"])
    except RunRefused as error:
        return refusal(message, REFUSED + error.fields.get("problem", "refused"))
    except RicordError as error:
        return refusal(message, REFUSED + error.public)
    except Exception as error:  # noqa: BLE001 -- whatever it is, its text must not leave
        return refusal(message, FAILED + type(error).__name__)
    return reply


def _claimed(kind: str, message: Message, plan: Plan) -> str:
    """What is answered once: a stage of a statistic, of a masked round, or a round."""
    stage = str(message.content[records.CONFIG].get(records.STAGE))
    if kind == "query":
        return stage
    return f"{kind}-{stage}" if plan.sums(kind) else kind


def plan_of(message: Message, site: FederateSettings) -> Plan:
    """The verified plan a message carries; raises `RunRefused` without one, `SignatureInvalid` for a forged one.

    A researcher's plan must be what they signed, by a certificate of this federation.
    """
    config = message.content.get(records.CONFIG) if message.has_content() else None
    text = config.get(records.PLAN) if isinstance(config, ConfigRecord) else None
    if not isinstance(text, str):
        raise RunRefused(problem="the message carries no plan")
    plan = verify_plan(text, site.verify_key)
    check_asked(plan, site.root)
    return plan


def check_answer(reply: Message, plan: Plan, policy: SitePolicy) -> None:
    """Raise `RunRefused` when an answer holds other records than its kind may, or more bytes than may leave."""
    if reply.has_error():
        return
    kind = reply.metadata.message_type
    summed = plan.sums(kind)
    if kind == "query":
        allowed = {records.CONFIG}
    elif kind == "train":
        allowed = {records.ARRAYS, records.CONFIG if summed else records.METRICS}
    else:
        allowed = {records.METRICS, *([records.CONFIG, records.ARRAYS] if summed else [])}
    fields = _FIELDS | {records.METRICS: _OWN if summed or kind == ALONE else _OWN | {records.EXAMPLES, records.LOSS}}
    content = reply.content
    if set(content) - allowed:
        raise RunRefused(problem=f"an answer for {plan.purpose} held a record it may not")
    if any(set(content[key]) - names for key, names in fields.items() if key in content):
        raise RunRefused(problem=f"an answer for {plan.purpose} held a field it may not")
    check_size(policy, sum(record.count_bytes() for record in content.values()))


_FIELDS = {
    records.ARRAYS: {records.STATE},
    records.CONFIG: {records.PAYLOAD},
}
_OWN = {records.AUC, records.LOW, records.HIGH, records.FIGURES}  # figures of this site that may leave beside masks
_ROUNDS = ("train", "evaluate")  # messages of which each round has its own


def train_round(message: Message, context: Context) -> Message:
    """Train the received model on this site's images; the new state goes into a secure sum.

    Without masks the state itself is sent, and the number of images by which Flower weights it; the loss leaves only
    if each class has enough cases.
    """
    admitted = from_context(context.node_config, Admitted)
    task = _task(admitted.plan)
    if task.masked:
        return _masked(message, admitted, Update)
    check_size(admitted.policy, _NUMBER_BYTES * state_length(task))
    start, split, server_round = _vector(message), _split(admitted, task), _round(message)
    check_patients(admitted.policy, split.patients)
    layers = LocalLayers(admitted.site.folder, admitted.plan, task)
    model, samples = layers.model_of(start, after=server_round - 1), split.learned(task)
    loss = train(model, samples, task, server_round=server_round)
    layers.keep(model, after=server_round)
    reported = task.privacy is None and may_report_figures(admitted.policy, admitted.plan, samples.cases)
    metrics = {
        records.EXAMPLES: min(len(samples.labels), task.maximum_images),
        records.LOSS: loss if reported else 0.0,
        records.FIGURES: int(reported),
    }
    content = RecordDict(
        {
            records.ARRAYS: ArrayRecord(
                {records.STATE: Array(clipped(layers.without(model, start), start, task.update_norm))}
            ),
            records.METRICS: MetricRecord(metrics),
        }
    )
    return Message(content, reply_to=message)


def evaluate_round(message: Message, context: Context) -> Message:
    """Evaluate the received model on this site's validation images; figures leave only if there are enough cases."""
    admitted = from_context(context.node_config, Admitted)
    task, evaluation = _task(admitted.plan), admitted.plan.evaluated
    if evaluation is not None:
        if took_part(admitted.site.folder, evaluation.run):
            raise RunRefused(problem="this site had a part in that model's training")
        return _masked(message, admitted, Elsewhere)
    if task.masked:
        return _masked(message, admitted, Evaluated)
    split, layers = _split(admitted, task), LocalLayers(admitted.site.folder, admitted.plan, task)
    check_patients(admitted.policy, split.patients)
    samples = split.validation
    result = evaluate(layers.model_of(_vector(message), after=_round(message)), samples)
    reported = result.auc is not None and may_report_figures(admitted.policy, admitted.plan, samples.cases)
    metrics = {
        records.EXAMPLES: min(len(samples.labels), task.maximum_images) if reported else 0,
        records.LOSS: result.loss if reported else 0.0,
        records.AUC: result.auc if reported and result.auc is not None else 0.0,
        records.FIGURES: int(reported),
    }
    return Message(RecordDict({records.METRICS: MetricRecord(metrics)}), reply_to=message)


def evaluate_finished(message: Message, context: Context) -> Message:
    """Evaluate a finished model on this site's test patients; histograms go into a secure sum, masked run or not."""
    return _masked(message, from_context(context.node_config, Admitted), {BEST: Best, LAST: Last}[_kind(message)])


def evaluate_alone(message: Message, context: Context) -> Message:
    """Train a model of this site alone, as long as the run did, and give its AUC of the test patients."""
    admitted = from_context(context.node_config, Admitted)
    task, split = _task(admitted.plan), _split(admitted, _task(admitted.plan))
    check_patients(admitted.policy, split.patients)
    model = train_alone(split.training, split.validation, task)
    figures = own_figures(scores_of(model, split.test, task), admitted.plan, task, admitted.policy)
    return Message(RecordDict({records.METRICS: MetricRecord(figures)}), reply_to=message)


def _round(message: Message) -> int:
    return int(message.content[records.CONFIG][records.ROUND])


def _kind(message: Message) -> str:
    return str(message.metadata.message_type)


def _masked(message: Message, admitted: Admitted, kind: type[MaskedPart]) -> Message:
    """Answer one stage of the secure sum of a round."""
    site, policy, task, config = admitted.site, admitted.policy, _task(admitted.plan), message.content[records.CONFIG]
    part = kind(
        admitted.plan,
        task,
        policy,
        split=cache(partial(_split, admitted, task)),
        start=_vector(message) if records.ARRAYS in message.content else None,
        server_round=_round(message),
        layers=LocalLayers(site.folder, admitted.plan, task),
    )
    memory = FileMemory(site.folder / "sums")
    memory.wipe_stale()
    client = SumClient(site.site_id, load_signing(site.signing_key), site.verify_key, _sum_policy(policy), memory)
    payload = client.answer(str(config[records.STAGE]), config[records.PAYLOAD], part)
    if part.start is None:
        return Message(RecordDict({records.CONFIG: ConfigRecord({records.PAYLOAD: payload})}), reply_to=message)
    words = ArrayRecord({records.STATE: Array("uint8", (len(payload),), "bytes", payload)})
    figures = {records.METRICS: MetricRecord(part.figures)} if part.figures else {}
    return Message(RecordDict({records.ARRAYS: words, **figures}), reply_to=message)


def _sum_policy(policy: SitePolicy) -> SumPolicy:
    return SumPolicy(minimum=policy.minimum_sites, colluders=policy.colluders, pins=policy.pins)


def count(message: Message, context: Context) -> Message:
    """Answer one stage of a federated statistic."""
    admitted = from_context(context.node_config, Admitted)
    site, policy = admitted.site, admitted.policy
    config, task = message.content[records.CONFIG], admitted.plan.statistics
    measured = task is not None and any(each.variable == DENSITY for each in task.histograms)
    payload = statistics.answer(
        str(config[records.STAGE]),
        config[records.PAYLOAD],
        site_id=site.site_id,
        key=load_signing(site.signing_key),
        coordinator=site.verify_key,
        memory=site.folder / "sums",
        studies=(lambda: with_densities(site.library, admitted.load())) if measured else admitted.load,
        policy=_sum_policy(policy),
        protocol_digest=site.protocol_digest,
        cells=CellPolicy.named(policy.small_cells),
        roster=admitted.plan.roster,
        task=task,
        minimum_patients=policy.minimum_patients,
    )
    return Message(RecordDict({records.CONFIG: ConfigRecord({records.PAYLOAD: payload})}), reply_to=message)


def _split(admitted: Admitted, task: TrainingTask) -> Split:
    """All test patients, where the model is another's."""
    elsewhere = admitted.plan.evaluated is not None
    most_bytes = (admitted.policy.max_task_mb << 20) // 3  # beside them the files, mapped, and what training needs
    studies = part_of(task.filter, admitted.site.protocol_digest, admitted.load())
    return load_split(admitted.site.library, studies, task, all_test=elsewhere, most_bytes=most_bytes)


def _task(plan: Plan) -> TrainingTask:
    if plan.learning is None:
        raise RunRefused(problem="the plan holds no model")
    return plan.learning


def _vector(message: Message) -> Vector:
    vector: Vector = message.content[records.ARRAYS][records.STATE].numpy()
    return vector


def _build() -> ClientApp:
    client = ClientApp(mods=[policy_gate])
    client.train()(train_round)
    client.evaluate()(evaluate_round)
    for kind in TESTS:
        client.evaluate(kind.partition(".")[2])(evaluate_finished)
    client.evaluate(ALONE.partition(".")[2])(evaluate_alone)
    client.query()(count)
    return client


app = _build()
