"""What is known of an image, for tests of the rules over it, and the criteria of RICORD."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from shared.protocol.criteria import Criteria
from site_node.screen.facts import Facts
from site_node.study import Reason

DATA = Path(__file__).resolve().parents[2] / "shared" / "protocol" / "data" / "criteria"
RICORD = Criteria.from_toml((DATA / "ricord.toml").read_text(encoding="utf-8"))
NUMBERS = count(1)


def changed_facts(facts: Facts, **changes: Any) -> Facts:
    """Those of another instance, with the changes."""
    instance = facts.instance.model_copy(update={"sop_instance_uid": f"1.2.{next(NUMBERS)}"})
    return replace(facts, instance=instance, **changes)


def codes(reasons: Sequence[Reason]) -> list[str]:
    """The reasons by their codes."""
    return [why.code for why in reasons]
