"""`federate`: federated statistics and training, what is decided on them, and what was answered."""

from datetime import datetime
from typing import Annotated

import typer

from shared.counts import counted
from shared.errors.agreements import AgreementModeNotAllowed
from shared.errors.inputs import NotFound
from shared.errors.trust import NotEnrolled
from shared.extras import ENGINE, require_extra
from shared.references import named
from shared.terminal import make_app, print_json, print_line, print_table
from site_node.commands.options import Json, Person, home_of, node_of
from site_node.federate.person import cost_in_words, one_line
from site_node.federate.plan_words import plan_in, summary, words_of
from site_node.federate.policy import POLICY_FILE, load_policy
from site_node.federate.questions import standing_of
from site_node.home.ledger import Ledger
from site_node.home.plans import KeptPlan, PlanState
from site_node.node.federation import answer_messages
from site_node.node.open import membership_of
from site_node.node.service import until_signal
from site_node.node.waits import federated_work

federate = make_app(
    """Take part in federated statistics and training as federation-policy.toml allows; images stay here.

    Its verbs decide on plans that wait for a person, and show what was answered.

    What leaves the hospital: masked sums and model weights, each message vetted by the policy first.

    Example: `ricord-site federate`
    """
)

Run = Annotated[str, typer.Argument(help="The run's name as `federate pending` shows it, or a beginning of it.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept in the home's audit.")]


@federate.callback(invoke_without_command=True, no_args_is_help=False)
def take_part(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="End when nothing came for a minute.")] = False,
    as_json: Json = False,
) -> None:
    """Answer messages where no verb is named."""
    if context.invoked_subcommand is not None:
        return
    home = home_of(context)
    settings = home.load()
    membership = membership_of(home)
    if membership is None:
        raise NotEnrolled(folder=str(home.folder))
    if not membership.federated_modes:
        raise AgreementModeNotAllowed(mode="statistics or training")
    require_extra("federation", *ENGINE)
    with until_signal() as stop:
        if not as_json:
            print_line("ready")
        answered = answer_messages(home, membership, settings.protocol, stop, once=once)
    if as_json:
        print_json({"answered": answered})
    else:
        print_line(f"{counted(answered, 'message', 'was')} answered.")


@federate.command()
def pending(context: typer.Context, as_json: Json = False) -> None:
    """List the plans that wait for a person to approve or decline them; each says until when it is good.

    Example: `ricord-site federate pending`
    """
    with node_of(context, writing=False) as node:
        plans = [plan for plan in node.ledger.plans.all(PlanState.PENDING) if plan.is_open]
    if as_json:
        print_json([{"run": plan.run, "since": plan.seen_at, "until": plan.expires_at} for plan in plans])
        return
    rows = [(plan.run, summary(plan_in(plan.document)), _time(plan.seen_at), _time(plan.expires_at)) for plan in plans]
    print_table(f"{counted(len(plans), 'plan', 'waits')} for a person", ["Run", "What", "Since", "Until"], rows)


@federate.command()
def show(context: typer.Context, run: Run, as_json: Json = False) -> None:
    """Show what a plan asks, who asks it and what would leave, and what was decided on it.

    Example: `ricord-site federate show R-3f9a`
    """
    with node_of(context, writing=False) as node:
        plan, spent = _plan(node.ledger, run), node.ledger.plans.spent()
        policy = load_policy(node.home.folder / POLICY_FILE)
    asked = plan_in(plan.document)
    words = [
        *words_of(asked),
        *cost_in_words(asked, policy, spent),
        ("Decided", plan.state + (f": {plan.reason}" if plan.reason else "")),
    ]
    if as_json:
        print_json(dict(words))
    else:
        print_table(f"The plan of {plan.run}", ["", ""], words)


@federate.command()
def approve(context: typer.Context, run: Run, reason: Why, person: Person = "") -> None:
    """Let a plan be answered here, as the policy allows, until it has ended. What leaves is said by `federate show`.

    Example: `ricord-site federate approve R-3f9a --as "A. Miller" --reason "in the scope of protocol 12"`
    """
    _decide(context, run, PlanState.APPROVED, person, reason)


@federate.command()
def decline(
    context: typer.Context,
    run: Run,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept in the home's audit, and it leaves.")],
    person: Person = "",
) -> None:
    """Let a plan never be answered here, or no further where it was approved.

    What leaves the hospital: the reason, to the coordinator and who asks.

    Example: `ricord-site federate decline R-3f9a --as "A. Miller" --reason "not covered by our consent"`
    """
    _decide(context, run, PlanState.DECLINED, person, reason)


@federate.command()
def stop(
    context: typer.Context,
    reason: Why,
    allow: Annotated[bool, typer.Option("--allow", help="Answer again what policy and persons allow.")] = False,
    person: Person = "",
) -> None:
    """Answer no federated message from now on, not one that is being worked on either, until `stop --allow`.

    What leaves the hospital: that it was stopped, as each message's refusal; not the reason.

    Example: `ricord-site federate stop --as "A. Miller" --reason "the ethics board meets"`
    """
    with node_of(context, writing=False) as node:
        act = node.ledger.plans.allow if allow else node.ledger.plans.stop
        act(person, one_line(reason))
    print_line("Federated messages are answered again." if allow else "No federated message is answered from now on.")


@federate.command()
def status(context: typer.Context, as_json: Json = False) -> None:
    """Show how federated work stands: whether it is stopped, what waits for a person, and what is answered from.

    Example: `ricord-site federate status`
    """
    with node_of(context, writing=False) as node:
        work = federated_work(node, running=node.home.is_served())
        policy = load_policy(node.home.folder / POLICY_FILE)
        snapshot = standing_of(node.ledger, node.home.library, policy.minimum_patients)
    if as_json:
        print_json({**work.model_dump(mode="json"), "snapshot": snapshot})
        return
    print_line(f"Federated work: {', '.join(work.modes) or 'none'}; {work.next}.")
    print_line(snapshot.words)


@federate.command()
def history(context: typer.Context, as_json: Json = False) -> None:
    """List what was answered to which run: of which kinds, how many bytes, when first and last, or why nothing left.

    Each single answer is in the home's audit (`ricord-site review audit`).

    Example: `ricord-site federate history`
    """
    with node_of(context, writing=False) as node:
        runs, plans = node.ledger.plans.history(), {plan.run: plan for plan in node.ledger.plans.all()}
    if as_json:
        print_json([run._asdict() for run in runs])
        return
    rows = [
        (
            each.run or "no plan",
            summary(plan_in(plans[each.run].document)) if each.run is not None and each.run in plans else "",
            f"{_time(each.first_at)} to {_time(each.last_at)}",
            "; ".join(
                [f"{each.sent}: {each.bytes:,} bytes"] * bool(each.sent)
                + [f"refused: {each.refused}"] * bool(each.refused)
            ),
        )
        for each in runs
    ]
    print_table(f"{counted(len(runs), 'run', 'was')} answered", ["Run", "What", "When", "Answers that left"], rows)


def _decide(context: typer.Context, run: str, state: PlanState, person: str, reason: str) -> None:
    why = one_line(reason)
    with node_of(context, writing=False) as node:
        plan = _plan(node.ledger, run)
        node.ledger.plans.decide(plan.run, state, actor=person, reason=why)
    print_line(f"The plan of {plan.run} is {state}.")


def _time(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"


def _plan(ledger: Ledger, reference: str) -> KeptPlan:
    """The plan of the run that a person names; raises `NotFound`, `AmbiguousReference`."""
    plan = named(ledger.plans.all(), reference, lambda each: (each.run,), kind="plan")
    if plan is None:
        raise NotFound(kind="plan", name="of a run that begins so; `ricord-site federate pending` lists them")
    return plan
