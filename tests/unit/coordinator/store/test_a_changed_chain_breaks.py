"""The hash chain of the audit log, without a store."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.store import audit_chain
from tests.factories.rows import NOW


def _chain(actions: list[str]) -> list[audit_chain.AuditEvent]:
    chain: list[audit_chain.AuditEvent] = []
    for action in actions:
        chain.append(audit_chain.link(chain[-1] if chain else None, at=NOW, actor="a", action=action, about="x"))
    return chain


@given(
    st.lists(st.sampled_from(["study received", "study fetched"]), min_size=1, max_size=8),
    st.integers(0, 7),
    st.integers(1, 8),
)
def test_a_log_written_anew_contradicts_the_receipts(actions: list[str], left_out: int, receipt: int) -> None:
    """With every later link recomputed the chain is intact; a receipt for that event or a later one contradicts it."""
    first, number = left_out % len(actions), (receipt - 1) % len(actions) + 1
    honest = _chain(actions)
    named = [(number, honest[number - 1].digest)]
    assert audit_chain.verify(honest, named).intact
    rewritten = [*actions[:first], *(action + "!" for action in actions[first:])]
    for forged in (_chain(rewritten), honest[:first]):
        assert audit_chain.verify(forged).intact
        assert audit_chain.verify(forged, named).broken_at == (number if number > first else 0)
    assert audit_chain.verify(honest, [*named, (number, audit_chain.GENESIS)]).broken_at == number


ENTRIES = st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=50)
@given(ENTRIES, st.data())
def test_no_event_can_be_changed_moved_or_left_out(entries: list[tuple[str, str]], data: st.DataObject) -> None:
    """Any change of a chain, except cutting its tail, is detected."""
    chain: list[audit_chain.AuditEvent] = []
    for actor, action in entries:
        last = chain[-1] if chain else None
        chain.append(audit_chain.link(last, at=NOW, actor=actor, action=action, about="x"))
    assert audit_chain.verify(chain).intact
    victim = data.draw(st.integers(0, len(chain) - 1))
    changed = chain[victim].model_copy(update={"action": chain[victim].action + "!"})
    assert not audit_chain.verify([*chain[:victim], changed, *chain[victim + 1 :]]).intact
    if victim < len(chain) - 1:
        assert not audit_chain.verify([*chain[:victim], *chain[victim + 1 :]]).intact
