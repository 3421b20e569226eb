"""Which rounds of each run a site answered, so that nobody obtains further gradients by asking a round again.

Every answer is claimed before it is computed: a marker per run, kind of message and round under the site's federation
folder. Exactly one retry is allowed, because a restarted coordinator repeats the round that it had not
finished, and a message can be lost with the connection. A third request is refused, whatever became of the others. Of
a masked round each stage is claimed. The stages of a statistic have no round; each is claimed by its name (and all once
per session by the secure sum itself). A test has no round either: the test patients are seen by two models of a run,
and then it trains no more.
"""

from pathlib import Path

from shared.durable import claim, sync_folder
from shared.errors.federation import RunRefused
from shared.federation.plan import ALONE, TESTS
from shared.federation.secure_sum.messages import STAGES
from shared.ids import RunId

ATTEMPTS = 2  # the first and one retry
_ROUNDS = ("train", "evaluate", *TESTS)
_KINDS = (*_ROUNDS, ALONE, *STAGES, *(f"{kind}-{stage}" for kind in _ROUNDS for stage in STAGES))


def took_part(folder: Path, run: RunId) -> bool:
    """Whether this site answered anything of a run."""
    return (folder / "rounds" / run).exists()


def claim_round(folder: Path, run: RunId, kind: str, server_round: int) -> None:
    """Mark one more answer of `kind` in round `server_round` (0: no round) of a run; durable when it returns.

    Raises `RunRefused` when it was answered and retried before, when there is no such kind, and for training after the
    run's test.
    """
    if kind not in _KINDS:  # it becomes a file's name
        raise RunRefused(problem="there is no such kind of message")
    claims = folder / "rounds" / run
    if kind.startswith("train") and any(claims.glob("evaluate.*")):
        raise RunRefused(problem="the test patients of this run were used: it trains no further")
    claims.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not any(claims.iterdir()):  # the first claim: a folder that holds one is durable
        for changed in (claims.parent, folder):
            sync_folder(changed)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            claim(claims / f"{kind}-{server_round}.{attempt}")
        except FileExistsError:
            continue
        return
    raise RunRefused(
        problem=f"{kind} of round {server_round} was answered and retried before"
        if server_round
        else "it was asked before"
    )
