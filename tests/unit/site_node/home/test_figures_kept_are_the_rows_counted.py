"""The figures that a ledger keeps are those that its rows give when they are counted one by one."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from shared.ids import StudyKey
from site_node.home.ledger import STATE_ORDER, Ledger, State
from site_node.home.migrations import STEPS
from site_node.home.retrieve_requests import Part, RequestCounts, RequestEntry, RequestState
from site_node.reasons import reason_for
from site_node.study import lead_of
from tests.factories.earlier_ledgers import WITHOUT_FIGURES

KEYS = st.integers(0, 3).map(lambda number: StudyKey(f"{number:032x}"))
NAMES = st.lists(st.sampled_from("abc"), unique=True)
STATES = st.sampled_from([*STATE_ORDER, State.EXCLUDED, State.QUARANTINED, State.REFUSED])
REQUESTS = st.sampled_from(["list-1", "list-2", "other-1"])


@st.composite
def parts_of_a_request(draw: st.DrawFn) -> list[Part]:
    """Studies that a PACS announced, of which some images arrived and some failed."""
    return [
        Part(
            key=key, announced=draw(st.integers(0, 9)), arrived=draw(st.integers(0, 9)), failed=draw(st.integers(0, 9))
        )
        for key in draw(st.lists(KEYS, unique=True, max_size=3))
    ]


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("instances"), KEYS, NAMES, STATES),
        st.tuples(st.just("parts"), REQUESTS, st.sampled_from(RequestState), parts_of_a_request()),
    ),
    max_size=20,
)


def change(ledger: Ledger, what: str, *values: object) -> None:
    """Enter images of a study and take it to a state, or note how far a request has come."""
    if what == "parts":
        request, state, parts = values
        ledger.requests._set(request, state, reason="missing" if state is RequestState.REFUSED else "", parts=parts)  # type: ignore[arg-type]
        return
    key, names, state = values
    is_new = not ledger.has_study(key)  # type: ignore[arg-type]
    if is_new:
        ledger.add_study(key, names, state=State.RECEIVED)  # type: ignore[arg-type]
    if state is State.REFUSED and not is_new:
        ledger._db.execute("delete from instances where key = ?", (key,))  # as a withdrawal does
    elif state is not State.RECEIVED:
        reasons = [reason_for("burned-in-text")] if state is State.QUARANTINED else []
        ledger.advance(key, state, reasons=reasons)  # type: ignore[arg-type]


def counted(entries: tuple[RequestEntry, ...]) -> RequestCounts:
    """The same counts, of the rows."""
    last = {part.key: part for entry in sorted(entries, key=lambda entry: entry.changed_at) for part in entry.parts}
    announced, arrived, failed = (
        sum(getattr(part, name) for part in last.values()) for name in ("announced", "arrived", "failed")
    )
    return RequestCounts(
        states=Counter(entry.state.value for entry in entries),
        reasons=Counter(entry.reason for entry in entries if entry.reason),
        reasons_by_state={
            state.value: Counter(entry.reason for entry in entries if entry.state is state and entry.reason)
            for state in RequestState
            if any(entry.state is state for entry in entries)
        },
        announced=announced,
        arrived=arrived,
        failed=failed,
        expected=announced - arrived - failed,
    )


def check(ledger: Ledger) -> None:
    """Compare every kept figure with the rows."""
    endings = Counter(row["ending"] for row in ledger._db.execute("select ending from instances"))
    assert ledger.instance_counts() == dict(sorted(endings.items()))
    entries = ledger.requests.all()
    assert ledger.requests.counts() == counted(entries)
    waiting = [entry for entry in entries if entry.is_open]
    asked = ledger.requests.open()
    assert (asked.count, asked.since, asked.next_due) == (
        len(waiting),
        min((entry.made_at for entry in waiting), default=None),
        min((entry.not_before for entry in waiting), default=None),
    )
    studies = ledger.studies()
    assert ledger.lead_counts() == Counter((study.state, lead_of(study.reasons)) for study in studies)
    assert ledger.oldest_by_state(*State) == {
        state: (len(times), min(times))
        for state in State
        if (times := [study.changed_at for study in studies if study.state is state])
    }


@given(changes=CHANGES)
def test_whatever_changes(changes: list[tuple[object, ...]]) -> None:
    """Whatever is entered, moved, withdrawn or asked again."""
    with TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder, "ledger.sqlite"), durable=False)
        ledger.requests.add(["list-1", "list-2", "other-1"])
        for what in changes:
            change(ledger, *what)  # type: ignore[arg-type]
        check(ledger)
        ledger.close()


@given(changes=CHANGES)
def test_also_in_a_ledger_that_had_rows_before_it_kept_figures(changes: list[tuple[object, ...]]) -> None:
    """A ledger that is migrated counts what it holds already."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "ledger.sqlite")
        ledger = Ledger(file, durable=False)
        ledger.requests.add(["list-1", "list-2", "other-1"])
        for what in changes:
            change(ledger, *what)  # type: ignore[arg-type]
        ledger._db.executescript(f"{WITHOUT_FIGURES} pragma user_version = {len(STEPS) - 1};")
        ledger.close()
        ledger = Ledger(file, durable=False)
        check(ledger)
        ledger.close()


def test_no_figure_reads_the_rows_of_studies(tmp_path: Path) -> None:
    """Each is answered from an index or from a table with a row for each ending, and nothing is sorted."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    asked = list[str]()
    ledger._db.set_trace_callback(asked.append)
    ledger.instance_counts(), ledger.lead_counts(), ledger.oldest_by_state(State.SEALED)
    ledger.submissions.counts(), ledger.requests.counts(), ledger.requests.open()
    ledger._db.set_trace_callback(None)
    plans = [row["detail"] for query in asked for row in ledger._db.execute(f"explain query plan {query}")]
    assert len(asked) == 7
    assert not [plan for plan in plans if "TEMP B-TREE" in plan]
    assert not [
        plan for plan in plans if plan in {"SCAN studies", "SCAN submissions", "SCAN requests", "SCAN instances"}
    ]
