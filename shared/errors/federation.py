"""Federated runs and secure sums."""

from shared.errors.base import ExitCode, RicordError, Text


class FederationError(RicordError):
    """A federated run cannot start or go on."""


class RunRefused(FederationError):
    """A site's policy does not allow the run."""

    text = Text("The site's policy refuses this run: {problem}.", ExitCode.REFUSED, "FAILED_PRECONDITION")


class RunWaits(FederationError):
    """A site neither allows nor refuses the run yet."""

    text = Text("The site has not decided on this run: {problem}.", ExitCode.REFUSED, "FAILED_PRECONDITION")


class SnapshotOutdated(FederationError):
    """What a site answers from has studies that its library does not hold any more."""

    text = Text(
        "A study was withdrawn or made anew since this site's last snapshot; questions are answered again when enough "
        "patients have changed.",
        ExitCode.REFUSED,
        "FAILED_PRECONDITION",
    )


class TooFewSites(FederationError):
    """Fewer sites take part than the policy's minimum."""

    text = Text(
        "{present} sites take part, the minimum is {minimum}; the run cannot go on with fewer.",
        ExitCode.REFUSED,
        "FAILED_PRECONDITION",
    )


class PlanInvalid(FederationError):
    """A run's plan contradicts itself or asks for the impossible."""

    text = Text("The run's plan is not valid: {problem}.", ExitCode.USAGE, "INVALID_ARGUMENT")


class RunNotProposed(FederationError):
    """A run does not wait for an operator to approve or decline it."""

    text = Text(
        "Run {run} is {state}; only one that is proposed can be approved or declined.",
        ExitCode.USAGE,
        "FAILED_PRECONDITION",
    )


class RunUnfinished(FederationError):
    """Somebody wants the results of a run that has not ended."""

    text = Text(
        "Run {run} is {state}; its results are there once it is done. `ricord-research watch {run}` waits for that.",
        ExitCode.UNREACHABLE,
        "FAILED_PRECONDITION",
    )


class RunDeclined(FederationError):
    """An operator declined what a researcher proposed, or it ended with the researcher's certificate."""

    text = Text("Run {run} was declined: {problem}.", ExitCode.REFUSED, "FAILED_PRECONDITION")


class RunFailed(FederationError):
    """A federated run ended without a result."""

    text = Text("The federated run ended without a result: {problem}.", ExitCode.FAILED, "ABORTED")


class WorkerFailed(FederationError):
    """The process that answers a site's messages did not start, or ended without an answer."""

    text = Text("The site's worker failed: {problem}.", ExitCode.FAILED, "ABORTED")


class RunGoesOn(FederationError):
    """A federated run has not ended in the time that somebody would wait for it."""

    text = Text(
        "Run {run} is {state} after {minutes} min and goes on; `ricord-coordinator run show {run}` says how "
        "far it is, `ricord-coordinator cohort show {run}` shows its table.",
        ExitCode.UNREACHABLE,
        "DEADLINE_EXCEEDED",
    )


class CohortNotReady(FederationError):
    """A cohort's table is asked for while its run goes on."""

    text = Text(
        "Cohort {run} is being computed: its run is {state}; `ricord-coordinator run show {run}` says how far it is.",
        ExitCode.UNREACHABLE,
        "FAILED_PRECONDITION",
    )


class SecureSumRefused(FederationError):
    """A message of a secure sum breaks the rules that keep each site's vector hidden."""

    text = Text(
        "The secure sum stops: {problem}; no site's numbers were shown.", ExitCode.REFUSED, "FAILED_PRECONDITION"
    )


class WrongShares(SecureSumRefused):
    """The shares of some sites, named with commas, do not give back what the sum needs: it needs a session without."""

    text = Text(
        "The secure sum stops: the shares that {sites} gave are wrong; no site's numbers were shown.",
        ExitCode.REFUSED,
        "FAILED_PRECONDITION",
    )
