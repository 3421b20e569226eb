"""The program says what it does: what happens to each attribute, and what exactly leaves the hospital.

Everything here is generated from the protocol's data, so that a sentence in the README cannot outlive a rule.
"""

from collections import Counter
from collections.abc import Callable

from shared.protocol.loader import Protocol
from shared.protocol.profile import DROP_ACTIONS, Action, Profile, Rule

MEANINGS = {
    Action.KEEP: "kept where it has the form it should have; of a text, public words and measures only",
    Action.CLEAN: "of a description, public words and measures only",
    Action.DEVICE: "kept as declared, unless it holds a name or number of the patient, of people or of a place",
    Action.EMPTY: "emptied",
    Action.REMOVE: "removed",
    Action.SHIFT: "moved by the patient's own number of days (1 to 3652 back unless imported); times of day stay",
    Action.BIRTH: "moved back likewise; emptied where it would tell an age over 89, or no StudyDate is there",
    Action.UID: "replaced by a keyed UID, the same wherever it occurs",
    Action.PATIENT: "replaced by the patient's pseudonym",
    Action.ACCESSION: "replaced by a keyed number",
    Action.AGE: "kept; over 89 years becomes 090Y",
    Action.WRITE: "dropped and written anew",
}
_MANIFEST = (
    "Both travel sealed to the curator. The signed manifest travels with them unencrypted: SITEID, agreement, protocol"
    " digest, new StudyInstanceUID, pseudonym, counts of series and instances, modalities, digests, size, sequence"
    " number. A withdrawal sends ids of submissions, and of single images their new UIDs."
)
_FEDERATED = (
    "In federated work, and only where the agreement and the site's policy allow it, what leaves is never an image or a"
    " row. For a cohort: counts under masks that cancel only in the sum over all sites. For training: under the"
    " same masks the model's weights, the numbers of images and patients, the loss and histograms of predictions;"
    " beside them this site's own AUC, of test patients with its interval, to two decimals, only if it has enough"
    " cases of each class (from the width of an interval the order of their number can be guessed). Where the"
    " site's policy says"
    " `unmasked = true`, a run may ask for the weights and the number of training images without masks, and for the"
    " site's own loss and AUC: the numbers of images of each class can be worked out from such weights. Where it says"
    " `parts = true`, a training may be of a part of the cohort: from several such runs the pooled numbers of patients"
    " in a small part can be worked out. And the reason"
    " of a refusal: also that a person has yet to decide on the plan, and what a person who declined it gave as reason."
)
_MEMBER = (
    "Of the site itself: the hospital's name, the signatory's name and role, public keys, the addresses it connects"
    " from, and each day of the coordinator's audit log how many entries it knows and which of them its receipts name."
    " To a coordinator that was restored from a backup it gives back receipts that this one signed and does not know."
)
_HEARTBEAT = (
    "While a node runs, each minute, unless `heartbeat = false` is set: the program's version; how many studies were"
    " received, wait, are quarantined, excluded, refused or submitted, and how many of them are sealed to be sent; the"
    " free bytes of its disk; the end of its certificate. These are whole counts of this site's own work, of no"
    " attribute and no patient, and exact however small: from one minute to the next they tell that a study came or"
    " moved on. The coordinator keeps the latest report only."
)
_KIND_NAMES = {"ect": "enhanced CT"}  # where a kind's abbreviation is not its modality
DUMMY_VRS = frozenset({"CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_PRIVATE = "kept in the block that this creator reserved, with the form its value should have"
_REST = "everything else, and every private, overlay and curve element: removed [closed by default]"
_REST_BUT_SAFE = "everything else, and every other private, overlay and curve element: removed [closed by default]"


def explain_profile(profile: Profile) -> tuple[str, ...]:
    """What the profile is and where it departs from its source; a line for each attribute; what else is removed.

    The line of an attribute: tag, keyword, what happens, and why.
    """
    lines = [_line(f"({rule.tag >> 16:04X},{rule.tag & 0xFFFF:04X}) {rule.keyword}", rule) for rule in profile.rules]
    private = [
        f"({safe.group:04X},xx{safe.element:02X}) of {safe.creator}, {safe.name}: {_PRIVATE} [{safe.source}]"
        for safe in profile.safe
    ]
    return (*_about(profile), *lines, *private, _REST if not private else _REST_BUT_SAFE)


def _line(name: str, rule: Rule) -> str:
    return f"{name}: {doing(rule)} [{rule.source}]"


def doing(rule: Rule) -> str:
    """What happens to an attribute."""
    required = f"; REMOVED stands for it in {', '.join(sorted(rule.required))}" if _has_dummy(rule) else ""
    return f"{MEANINGS[rule.action]}{required}"


def _has_dummy(rule: Rule) -> bool:
    return rule.action is Action.EMPTY and bool(rule.required and rule.vrs & DUMMY_VRS)


def _about(profile: Profile) -> tuple[str, ...]:
    """The first lines: name, source, digest, claims, and the notes."""
    claims = profile.claims
    by_case = {"always": " ".join(claims.always), "after cleaning a description": claims.cleaned}
    by_case |= {"where a private element is kept": claims.private}
    codes = "; ".join(f"{codes} {when}" for when, codes in by_case.items() if codes)
    return (
        f"profile {profile.name} {profile.edition}, digest {profile.digest}: {profile.source}",
        f"claims in (0012,0064): {codes}",
        *(f"note: {note}" for note in profile.notes),
    )


def what_leaves(protocol: Protocol) -> str:
    """Markdown of at most 25 lines: exactly what leaves the hospital under this protocol."""
    paragraphs = (_clinical_line(protocol), _MANIFEST, _FEDERATED, _HEARTBEAT, _MEMBER)
    return "\n".join((*_image_lines(protocol.profile), *(f"\n{text}" for text in paragraphs))) + "\n"


def _image_lines(profile: Profile) -> tuple[str, ...]:
    counts = Counter(rule.action for rule in profile.rules)
    public = profile.vocabulary.rules.public
    codes = ", ".join(sorted({*profile.claims.always, profile.claims.cleaned} - {""}))
    kinds = ", ".join(_KIND_NAMES.get(kind, kind.upper()) for kind in sorted(set(profile.kinds.values())))
    return (
        f"Of each image, under profile `{profile.name}` {profile.edition}:",
        "",
        (
            f"- **Kept** ({counts[Action.KEEP]} attributes): the pixels, and what describes acquisition, geometry and"
            f" device. Of the patient: {_names(profile, _is_kept_of_patient)}. **Of any text only those words leave"
            f" that are public already (in the images of {public.collections} public collections and"
            f" {public.patients} patients, in the DICOM Standard, or on the list of imaging words of this release) or"
            " that a named person of this hospital accepted (`ricord-site words show`; a study's are listed inside what"
            " is sealed), and numbers that are measures.**"
        ),
        (f"- **Cleaned** by the same rule ({counts[Action.CLEAN]} descriptions): {_doing(profile, Action.CLEAN)}."),
        (
            f"- **Changed**: {counts[Action.SHIFT]} dates and datetimes move by a number of days fixed for each patient"
            " (1 to 3652 back, or as an imported earlier contribution moved them), times of day stay; every UID that"
            " the DICOM Standard does not register is replaced by a keyed one; PatientID and PatientName become"
            " `<SITEID>-<number>`; AccessionNumber becomes a keyed number; PatientAge over 89 becomes `090Y`,"
            " and is computed from birth and study date where it is missing."
        ),
        f"- **Emptied** ({counts[Action.EMPTY]}): {_doing(profile, Action.EMPTY)}.",
        (
            f"- **Removed**: {counts[Action.REMOVE]} attributes by name, every attribute that the profile does not"
            " name, all private elements, overlays, curves, what no decoder reads of compressed images, preamble and"
            " file meta."
        ),
        (
            f"- **Written**: {_doing(profile, Action.WRITE)} (codes {codes}), and a private block"
            f" `{profile.private_creator}` with SITEID and project."
        ),
        (
            f"- **Kinds of image**: {kinds}; images whose pixels may hold text wait for a person; reports, documents,"
            " presentation states, waveforms, raw data and other kinds are refused."
        ),
    )


def _clinical_line(protocol: Protocol) -> str:
    released = [field.name for field in protocol.clinical.fields if field.leaves]
    retained = [field.name for field in protocol.clinical.fields if not field.leaves]
    return (
        f"Of each study's clinical row, {len(released)} codes, numbers and shifted dates: {_ticked(released)}."
        f" Identifiers and free text stay in the hospital: {_ticked(retained)}."
    )


def _is_kept_of_patient(rule: Rule) -> bool:
    return rule.tag >> 16 == 0x0010 and rule.action not in {*DROP_ACTIONS, Action.EMPTY, Action.PATIENT}  # group


def _names(profile: Profile, selects: Callable[[Rule], bool]) -> str:
    """Every keyword of the selected rules, never "and others": the text promises to be exact."""
    return ", ".join(rule.keyword for rule in profile.rules if selects(rule)) or "none"


def _doing(profile: Profile, action: Action) -> str:
    return _names(profile, lambda rule: rule.action is action)


def _ticked(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"
