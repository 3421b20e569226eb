"""Runs: what was asked, how far each is, figures by round, who is not in them and why; approve, decline, stop."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from coordinator.console.centre import Centre
from coordinator.console.moments import moment_of
from shared.errors.inputs import InvalidArgument
from shared.federation.plan import Plan
from shared.proto.ricord.v1 import federation_pb2 as wire
from shared.proto.ricord.v1.federation_pb2_grpc import FederationServiceStub
from shared.web.console import Page
from shared.web.drawing import curves_of
from shared.web.visit import Answer, Redirect, Shown, Visit

_ENDED = frozenset({"done", "failed", "declined"})
_MOST_REASON = 200
_ABOVE = {"run", "aim", "researcher", "proposal", "sites"}


class RunPages:
    """The list, one run with figures that renew themselves, and its decisions."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    def pages(self) -> tuple[Page, ...]:
        """What is answered."""
        return (
            Page("GET", "/runs", self._list),
            Page("GET", "/runs/{run}", lambda visit: self._run(visit, "run.html")),
            Page("GET", "/runs/{run}/figures", lambda visit: self._run(visit, "run_figures.html")),
            Page("POST", "/runs/{run}/approve", self._approve),
            Page("POST", "/runs/{run}/decline", self._decline),
            Page("POST", "/runs/{run}/stop", self._stop),
        )

    def _list(self, visit: Visit) -> Answer:
        with self._centre.asking(visit.person) as asking:
            runs = asking.all(FederationServiceStub(asking.channel).ListRuns, wire.ListRunsRequest()).runs
        return Shown("runs.html", {"rows": [(run, moment_of(run.started_at)) for run in reversed(runs)]})

    def _run(self, visit: Visit, template: str) -> Answer:
        with self._centre.asking(visit.person) as asking:
            request = wire.GetRunRequest(id=visit.values["run"])
            run = asking.ask(FederationServiceStub(asking.channel).GetRun, request).run
        result = json.loads(run.result) if run.result else {}
        rounds, refusals = result.get("rounds", []), result.get("refusals", [])
        values = {
            "run": run,
            "started_at": moment_of(run.started_at),
            "ended_at": moment_of(run.ended_at),
            "has_ended": run.state in _ENDED,
            "plan": list(_plan_lines(run.plan)),
            "rounds": rounds,
            "drawn": curves_of({"all sites": rounds}),
            "refusals": refusals,
            "absent": list(_absent(run.site_ids, rounds, refusals)),
            "has_table": "cells" in result,
        }
        return Shown(template, values)

    def _approve(self, visit: Visit) -> Answer:
        with self._centre.asking(visit.person) as asking:
            request = wire.ApproveRunRequest(id=visit.values["run"])
            asking.ask(FederationServiceStub(asking.channel).ApproveRun, request)
        return _back(visit, "approved")

    def _decline(self, visit: Visit) -> Answer:
        reason = visit.form.text("reason", most=_MOST_REASON)
        if not reason.isprintable():
            raise InvalidArgument(name="The reason", problem="it is one line")
        with self._centre.asking(visit.person) as asking:
            request = wire.DeclineRunRequest(id=visit.values["run"], reason=reason)
            asking.ask(FederationServiceStub(asking.channel).DeclineRun, request)
        return _back(visit, "declined")

    def _stop(self, visit: Visit) -> Answer:
        with self._centre.asking(visit.person) as asking:
            request = wire.StopRunRequest(id=visit.values["run"])
            asking.ask(FederationServiceStub(asking.channel).StopRun, request)
        return _back(visit, "stopping")


def _back(visit: Visit, notice: str) -> Redirect:
    return Redirect(f"/runs/{visit.values['run']}", notice)


def _absent(
    site_ids: Sequence[str], rounds: Sequence[Mapping[str, Any]], refusals: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[int, list[str]]]:
    """Each round that has figures of some sites, with those of the plan that neither are in them nor refused."""
    for each in rounds:
        answered = set(each.get("summed") or (site["site_id"] for site in each["sites"]))
        refused = {refusal["site_id"] for refusal in refusals if refusal["round"] == each["round"]}
        absent = sorted(set(site_ids) - answered - refused)
        if answered and absent:
            yield each["round"], absent


def _plan_lines(document: bytes) -> Iterator[tuple[str, str]]:
    """The plan's parts as a person reads them, without what stands above; of what is asked, everything."""
    plan = Plan.model_validate_json(document)
    values = plan.model_dump(mode="json", exclude_defaults=True, exclude=_ABOVE)
    asked = plan.model_dump(mode="json", exclude_none=True, include={str(plan.purpose)})
    for name, value in {**values, **asked}.items():
        for inner, part in value.items() if isinstance(value, dict) else ((name, value),):
            yield inner.replace("_", " "), part if isinstance(part, str) else json.dumps(part, ensure_ascii=False)
