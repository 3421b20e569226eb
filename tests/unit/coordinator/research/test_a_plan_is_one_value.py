"""A plan in TOML, in Python and in JSON is the same bytes, and what cannot hold is refused in one sentence."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.research.figures import rows_of
from coordinator.research.plans import TEMPLATES, Asked, Evaluation, Statistics, Training, check_plan, read_plan
from shared.errors.base import RicordError
from shared.errors.federation import PlanInvalid, TooFewSites
from shared.errors.inputs import InvalidArgument, SourceMissing
from shared.errors.settings import InvalidSetting, UnknownSetting
from shared.federation.offer import Offered, offer_of
from shared.federation.plan import PlanRequest, Purpose, parse_request
from shared.ids import RunId, SiteId
from shared.manifest import canonical_json
from shared.protocol.loader import load_protocol

OFFER = offer_of(load_protocol().digest)
SITES = st.lists(st.integers(200000, 200009).map(lambda n: SiteId(str(n))), min_size=3, max_size=5, unique=True)
AIMS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=300).filter(str.strip)
COMMON = {
    "aim": AIMS,
    "sites": st.just(()) | SITES.map(tuple),
    "minimum_sites": st.just(3),
    "timeout_seconds": st.integers(1, 86400),
}
ASKED = st.builds(
    Training,
    **COMMON,
    label=st.sampled_from([label.name for label in OFFER.labels]),
    rounds=st.integers(1, 500),
    learning_rate=st.floats(1e-6, 10),
    masked=st.booleans(),
    strategy=st.sampled_from(["fedavg", "fedadam"]),
) | st.builds(Statistics, **COMMON, policy=st.sampled_from(["cms-11", "nhs-7-round-5", "min-5"]))


def toml_of(request: PlanRequest) -> str:
    """The request as a person writes it."""
    fields = request.model_dump(mode="json", exclude_none=True, exclude={"format", "researcher"})
    task = fields.pop(request.purpose)
    return "\n".join([*_lines(fields), f"[{request.purpose}]", *_lines(task)])


def _lines(fields: dict[str, object]) -> list[str]:
    return [f"{name} = {_value(value)}" for name, value in fields.items()]


def _value(value: object) -> str:
    """TOML's values are JSON's, but for tables within a line."""
    if isinstance(value, dict):
        return f"{{{', '.join(_lines(value))}}}"
    return json.dumps(value, ensure_ascii=False)


@settings(max_examples=100)
@given(asked=ASKED)
def test_three_ways_to_write_it_are_the_same_bytes(tmp_path_factory: pytest.TempPathFactory, asked: Asked) -> None:
    """What is signed does not depend on how it was written, and each of them passes the check."""
    folder = tmp_path_factory.getbasetemp()
    signed = canonical_json(asked.request)
    (folder / "plan.toml").write_text(toml_of(asked.request), encoding="utf-8")
    (folder / "plan.json").write_bytes(signed)
    for written in (read_plan(folder / "plan.toml"), read_plan(folder / "plan.json"), parse_request(signed)):
        check_plan(written)
        assert canonical_json(written) == signed
    asked.check(OFFER)


@pytest.mark.parametrize("purpose", TEMPLATES)
def test_a_new_plan_lacks_its_aim_only(tmp_path: Path, purpose: Purpose) -> None:
    """The template holds what Python would take without being told; an evaluation names its training, too."""
    file = tmp_path / "plan.toml"
    template = TEMPLATES[purpose].replace('run = ""', 'run = "R-0123456789ab"')
    file.write_text(template)
    with pytest.raises(PlanInvalid, match="aim"):
        check_plan(read_plan(file))
    file.write_text(template.replace('aim = ""', 'aim = "Why?"'))
    made = {
        "training": Training(aim="Why?"),
        "statistics": Statistics(aim="Why?"),
        "evaluation": Evaluation(aim="Why?", run=RunId("R-0123456789ab")),
    }
    assert read_plan(file) == made[purpose].request


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"aim": " "}, "aim"),
        ({"aim": "x" * 301}, "aim"),
        ({"aim": "two\nlines"}, "aim"),
        ({"label": "age"}, "`age` is not a yes/no field of the dictionary (covid_status, pneumonia"),
        ({"model": "huge"}, "no model"),
        ({"rounds": 501}, "rounds"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"image_size": 63}, "image_size"),
        ({"minimum_sites": 2}, "minimum_sites"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"sites": ("200000", "200001")}, "fewer"),
        ({"sites": ("200000", "200000", "200001")}, "twice"),
        ({"sites": ("North",)}, "sites"),
        ({"strategy": "krum"}, "masks"),
        ({"purpose": "statistics"}, "purpose"),
        ({"filter": "sex = F"}, "filter"),
    ],
)
def test_a_plan_out_of_bounds_is_one_sentence(changes: dict[str, object], named: str) -> None:
    """It names the field, and nothing else of what was typed than a name that is not offered."""
    with pytest.raises(PlanInvalid) as caught:
        Training.model_validate({"aim": "Why?", **changes}).check()
    assert named in caught.value.public
    assert "\n" not in caught.value.public


@pytest.mark.parametrize(
    ("text", "error", "named"),
    [
        ('purpose = "statistics"\naim = "x"\n[statistics]\ncohort = "other"', PlanInvalid, "cohort is `ricord`"),
        ('purpose = "statistics"\naim = "x"\n[statistics]\ncohort = "ricord"\npolicy = "x"', InvalidArgument, "policy"),
        ('purpose = "statistics"\naim = "x"\n[training]', PlanInvalid, "purpose training only"),
        ('purpose = "training"\naim = "x"\n[training]\nround = 3', UnknownSetting, "write `rounds`"),
        ('purpose = "training"\naim = "x"\n[training]\nrounds = 0', InvalidSetting, "rounds"),
        ('purpose = "statistics"\naim = "x"\nresearcher = "r"\n[statistics]\ncohort = "ricord"', PlanInvalid, "signed"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: str, error: type[RicordError], named: str) -> None:
    """With its key and line where TOML can say so."""
    file = tmp_path / "plan.toml"
    file.write_text(text)
    with pytest.raises(error) as caught:
        check_plan(read_plan(file))
    assert named in caught.value.public


def test_an_evaluation_shows_an_interval_by_site() -> None:
    """All sites together first; of a site that withheld its own nothing is shown."""
    auc = {"value": 0.8, "low": 0.7, "high": 0.9}
    sites = [{"site_id": "200000", "auc": auc}, {"site_id": "200001", "auc": None}]
    rows = rows_of({"test": {"pooled": {"auc": auc}, "sites": sites}})
    assert [(row["site_id"], row["value"], row["low"]) for row in rows] == [
        ("", 0.8, 0.7),
        ("200000", 0.8, 0.7),
        ("200001", None, None),
    ]


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    """A folder is none, nor is a file of another kind a plan."""
    with pytest.raises(SourceMissing):
        read_plan(tmp_path)
    (tmp_path / "plan.json").write_text("[]")
    with pytest.raises(PlanInvalid):
        read_plan(tmp_path / "plan.json")


def test_more_sites_than_there_are_is_said_before_it_is_signed() -> None:
    """By the federation's own count, not by which hospitals they are."""
    few = Offered(offer=OFFER, sites={"statistics": 3, "training": 2})
    Statistics(aim="Why?").check(few)
    with pytest.raises(TooFewSites, match="2 sites take part, the minimum is 3"):
        Training(aim="Why?").check(few)
