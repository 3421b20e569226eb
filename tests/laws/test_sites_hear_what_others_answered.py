"""Laws of the histories that go with a secure sum: sites tell one another what they answered, signed."""

import pytest

from shared.errors.federation import RunRefused, TooFewSites
from shared.errors.trust import SignatureInvalid
from shared.federation.secure_sum.messages import Answered, ShareRequest
from shared.federation.secure_sum.server import secure_sum
from shared.ids import SiteId
from shared.manifest import canonical_json
from tests.factories.summing import federation, sites


def test_sites_hear_from_one_another_what_was_answered() -> None:
    """Two disjoint sums, then one over both and one more site: each site was in one only, and all refuse the third."""
    carrier, everyone = federation(7, 1), sites(7)
    secure_sum(carrier.plan(everyone[:3]), carrier)
    secure_sum(carrier.plan(everyone[3:6]), carrier)
    with pytest.raises(TooFewSites):
        secure_sum(carrier.plan(everyone), carrier)
    assert {stage for stage, _ in carrier.refusals} == {"share"}
    assert all(isinstance(error, RunRefused) for error in carrier.refusals.values())


def test_what_a_site_heard_it_tells_others() -> None:
    """A part of an answered set is refused by sites that heard of another part from those that are not here."""
    carrier, everyone = federation(9, 1), sites(9)
    secure_sum(carrier.plan(everyone[3:6]), carrier)
    secure_sum(carrier.plan(everyone), carrier)
    secure_sum(carrier.plan(everyone[:3]), carrier)
    with pytest.raises((TooFewSites, RunRefused)):
        secure_sum(carrier.plan([*everyone[:3], *everyone[5:8]]), carrier)
    assert Answered(roster=tuple(everyone[3:6]), survivors=tuple(everyone[3:6])) in (
        carrier.remembered[everyone[0]].answered("test")
    )


def test_a_history_is_signed() -> None:
    """A site whose history is changed on the way is not believed, and its round keys neither."""
    carrier, everyone = federation(4, 1), sites(4)
    secure_sum(carrier.plan(), carrier)

    def forget(stage: str, _site: SiteId, payload: bytes) -> bytes:
        if stage != "share":
            return payload
        request = ShareRequest.model_validate_json(payload)
        changed = [
            signed.model_copy(update={"advert": signed.advert.model_copy(update={"answered": ()})})
            for signed in request.adverts
        ]
        return canonical_json(request.model_copy(update={"adverts": tuple(changed)}))

    carrier.changed = forget
    with pytest.raises(TooFewSites):
        secure_sum(carrier.plan(), carrier)
    assert all(isinstance(error, SignatureInvalid) for error in carrier.refusals.values())
    assert set(carrier.refusals) == {("share", site) for site in everyone}
