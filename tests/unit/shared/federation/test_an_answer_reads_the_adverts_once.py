"""What a site does in one stage of a secure sum grows with the number of sites, not with its square."""

from collections import Counter

import numpy as np
import pytest

from shared.federation.secure_sum import client, messages
from shared.federation.secure_sum.server import sum_without_liars
from shared.ids import SiteId
from tests.factories.summing import Federation

SITES = 7


def test_each_answer_hashes_everybodys_round_keys_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for each peer: with 200 sites that took most of a sum's time."""
    stages, asked = Counter[str](), [""]
    view_of = messages.view_of

    def counting(adverts: tuple[messages.SignedAdvert, ...]) -> object:
        stages[asked[0]] += 1
        return view_of(adverts)

    monkeypatch.setattr(client, "view_of", counting)
    monkeypatch.setattr(messages, "view_of", counting)  # by which `survivors_bytes` calls it
    sites = Federation({SiteId(str(300000 + n)): np.array([n], dtype=np.uint64) for n in range(SITES)})

    def carry(stage: str, requests: dict[SiteId, bytes]) -> dict[SiteId, bytes]:
        asked[0] = stage
        answers = dict(sites(stage, requests))
        asked[0] = "centre"
        return answers

    plan = sites.plan().plan
    assert sum_without_liars(plan, sites.coordinator, carry).total.tolist() == [sum(range(SITES))]  # type: ignore[arg-type]
    del stages["centre"]
    assert stages == {"share": SITES, "mask": SITES, "consistency": SITES, "unmask": SITES}
