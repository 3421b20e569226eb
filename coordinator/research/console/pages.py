"""The researcher's pages: runs and how they go, runs compared, and a plan that is checked and proposed."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from coordinator.research.federation import Federation
from coordinator.research.home import ResearcherHome
from coordinator.research.plans import TEMPLATES, check_plan
from shared.errors.base import RicordError
from shared.errors.inputs import InvalidArgument
from shared.federation.plan import PlanRequest, Purpose, Which
from shared.settings import parse_settings
from shared.web.console import Page
from shared.web.drawing import curves_of
from shared.web.visit import Answer, Content, Redirect, Shown, Visit

_MOST_PLAN = 20_000  # characters
_MOST_COMPARED = 6


class Role(StrEnum):
    """Whoever has the link is the researcher, whose keys lie in the home."""

    RESEARCHER = "researcher"


ROLES: Mapping[str, frozenset[Role]] = MappingProxyType(
    dict.fromkeys(
        (
            "GET /",
            "POST /compare",
            "GET /plan",
            "POST /plan",
            "GET /runs/{run}",
            "GET /runs/{run}/figures",
            "GET /runs/{run}/csv",
            "GET /runs/{run}/model/{which}",
        ),
        frozenset(Role),
    )
)


@dataclass(frozen=True)
class ResearchPages:
    """What is answered; every page asks the coordinator anew."""

    home: ResearcherHome

    def pages(self) -> tuple[Page, ...]:
        """What is answered."""
        return (
            Page("GET", "/", self._runs),
            Page("POST", "/compare", self._compare),
            Page("GET", "/plan", lambda visit: Shown("plan.html", _form(TEMPLATES[_purpose(visit)]))),
            Page("POST", "/plan", self._plan),
            Page("GET", "/runs/{run}", lambda visit: self._run(visit, "run.html")),
            Page("GET", "/runs/{run}/figures", lambda visit: self._run(visit, "run_figures.html")),
            Page("GET", "/runs/{run}/csv", self._csv),
            Page("GET", "/runs/{run}/model/{which}", self._model),
        )

    def _runs(self, visit: Visit) -> Answer:
        del visit
        return Shown("runs.html", {"runs": list(reversed(self._federation().runs()))})

    def _compare(self, visit: Visit) -> Answer:
        """The figures of several trainings side by side."""
        names = dict.fromkeys(visit.form.texts("run"))
        if not 2 <= len(names) <= _MOST_COMPARED:
            raise InvalidArgument(name="The choice of runs", problem=f"choose 2 to {_MOST_COMPARED} of them")
        federation = self._federation()
        runs = [federation.run(name) for name in names]
        rounds = {run.id: run.rounds for run in runs}
        if not all(rounds.values()):
            raise InvalidArgument(name="The choice of runs", problem="compare trainings of which a round is done")
        last = [(run, rounds[run.id][-1], len(rounds[run.id])) for run in runs]
        return Shown("compare.html", {"last": last, "drawn": curves_of(rounds)})

    def _run(self, visit: Visit, template: str) -> Answer:
        run = self._federation().run(visit.values["run"])
        result = run.result if run.state == "done" else {}
        values = {
            "run": run,
            "rounds": run.rounds,
            "drawn": curves_of({"all sites": run.rounds}),
            "refusals": result.get("refusals", []),
            "has_table": "cells" in result,
            "models": [name for name, key in (("last", "model_sha256"), ("best", "best_sha256")) if result.get(key)],
        }
        return Shown(template, values)

    def _csv(self, visit: Visit) -> Answer:
        run = self._federation().run(visit.values["run"])
        return Content(run.metrics.to_csv().encode(), "text/csv; charset=utf-8", f"{run.id}.csv")

    def _model(self, visit: Visit) -> Answer:
        which: dict[str, Which] = {"last": "last", "best": "best"}
        name = visit.values["which"]
        if name not in which:
            raise InvalidArgument(name="The model", problem="it is `last` or `best`")
        run = self._federation().run(visit.values["run"])
        return Content(run.model_file(which[name]), "application/octet-stream", f"{run.id}-{name}.safetensors")

    def _plan(self, visit: Visit) -> Answer:
        """Say what is wrong with a plan, or that it holds; propose it where that was asked for."""
        text = visit.form.text("plan", most=_MOST_PLAN)
        try:
            federation, request = self._federation(), parse_settings(text, PlanRequest, file="the plan")
            offered = federation.offered()
            check_plan(request, offered)
            if visit.form.optional("propose"):
                return Redirect(f"/runs/{federation.submit(request).id}", "proposed")
        except RicordError as error:
            return Shown("plan.html", _form(text, problem=error.public), 400)
        return Shown("plan.html", _form(text, sites=offered.sites[request.purpose]))

    def _federation(self) -> Federation:
        return Federation(self.home)


def _form(text: str, *, problem: str = "", sites: int | None = None) -> dict[str, object]:
    """The page of a plan: its text, what is wrong with it, or how many sites its agreements cover."""
    return {"plan": text, "problem": problem, "sites": sites, "purposes": list(TEMPLATES)}


def _purpose(visit: Visit) -> Purpose:
    purpose = visit.query.get("purpose", "training")
    for known in TEMPLATES:
        if known == purpose:
            return known
    raise InvalidArgument(name="purpose", problem="it is one of " + ", ".join(TEMPLATES))
