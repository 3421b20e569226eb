"""Agreement: its text, terms and fingerprints, where it stands, and its signature by a typed name."""

import hashlib

from shared.agreement import short_digest
from shared.agreement_page import terms_page
from shared.agreement_steps import next_step
from shared.crypto.keys import load_signing
from shared.errors.base import RicordError
from shared.errors.console import ChangedMeanwhile
from shared.errors.trust import TokenUsed
from shared.manifest import canonical_json
from shared.web.console import Page
from shared.web.visit import Answer, Redirect, Shown, Visit
from site_node.home.folder import SiteHome
from site_node.membership.agreement import note_signed, sign_agreement, signed_before
from site_node.membership.amendment import read_amendment, sign_amendment
from site_node.membership.invitation import ReadAgreement, read_agreement
from site_node.membership.record import IdentityFiles, Membership
from site_node.membership.renewal import standing
from site_node.membership.step import step_of
from site_node.node.open import membership_of

_MOST_TOKEN = 20_000  # characters


class AgreementPages:
    """Where it stands, what is offered, and the signature."""

    def __init__(self, home: SiteHome) -> None:
        self._home = home

    def pages(self) -> tuple[Page, ...]:
        """What is answered."""
        return (
            Page("GET", "/agreement", self._page),
            Page("POST", "/agreement/read", self._read),
            Page("POST", "/agreement/sign", self._sign),
        )

    def _page(self, visit: Visit) -> Answer:
        """What is in force, and how the coordinator sees it now, which a home cannot know by itself."""
        del visit
        values, membership = self._values(None, ""), membership_of(self._home)
        if membership is None:
            return Shown("agreement.html", values)
        try:
            state = standing(membership)
        except RicordError as error:
            return Shown("agreement.html", {**values, "unsaid": error.public})
        amendment = (state.amendment, next_step(state.amendment)) if state.amendment else None
        return Shown("agreement.html", {**values, "state": (state, next_step(state.state)), "amendment": amendment})

    def _read(self, visit: Visit, problem: str = "") -> Shown:
        token = visit.form.optional("token", most=_MOST_TOKEN)
        offered = read_agreement(self._home, token) if token else read_amendment(self._home)
        return Shown("agreement.html", self._values(offered, token, problem), 400 if problem else 200)

    def _values(self, offered: ReadAgreement | None, token: str, problem: str = "") -> dict[str, object]:
        self._home.load()
        membership = membership_of(self._home)
        signed = signed_before(self._home) if not membership and IdentityFiles(self._home).consent.exists() else None
        shown = offered or membership or signed
        terms = shown.terms if shown else None
        own = load_signing(self._home.signing_key).public.fingerprint
        return {
            "step": step_of(self._home),
            "membership": membership,
            "offered": offered,
            "signed": signed,
            "text": offered.text if offered else _text_in_force(self._home, membership),
            "terms": terms,
            "page": terms_page(terms) if terms else "",
            "recipient": short_digest(terms.curator.recipient) if terms else "",
            "own": own,
            "token": token,
            "problem": problem,
            "state": None,
            "amendment": None,
            "unsaid": "",
            "seen": hashlib.sha256(canonical_json(offered.terms)).hexdigest() if offered else "",
        }

    def _sign(self, visit: Visit) -> Answer:
        """Sign what was shown, if the name that was typed is that of who is signed in; else it is shown again."""
        if " ".join(visit.form.text("name").split()) != visit.person.name:
            return self._read(visit, "Sign with your own name, as it stands below; nothing is signed.")
        draft = IdentityFiles(self._home).draft
        if not draft.exists() or hashlib.sha256(draft.read_bytes()).hexdigest() != visit.form.text("seen"):
            raise ChangedMeanwhile
        signatory = f"{visit.person.name}, {visit.form.text('function', most=200)}"
        token = visit.form.optional("token", most=_MOST_TOKEN)
        try:
            if token:
                terms = sign_agreement(self._home, token, signatory=signatory)
            else:
                terms = sign_amendment(self._home, signatory=signatory)
            note_signed(self._home, terms, signatory)
        except TokenUsed:  # a form that was sent twice
            signed_before(self._home)
        return Redirect("/agreement", "signed")


def _text_in_force(home: SiteHome, membership: Membership | None) -> str:
    """The text that was read here last, where it is that of the version in force."""
    file = IdentityFiles(home).text
    content = file.read_bytes() if membership and file.exists() else b""
    if membership is None or hashlib.sha256(content).hexdigest() != membership.terms.text_sha256:
        return ""
    return content.decode()
