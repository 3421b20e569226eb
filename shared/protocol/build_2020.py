"""The `ricord-2020` table: the protocol of 10 June 2020 as it is written, and where it is not followed, why.

The protocol decides by its appendix 1 and the rules of its body, and keeps every attribute it does not mention. Here
such an attribute follows the `ricord` table, because it may hold a person's name.
"""

from shared.protocol.build_deidentify import BY_2020, DECISIONS, TRIAL, Facts, decide

DEPARTURES = {
    0x00080050: ("accession", "2020: eight digits of an unkeyed hash; here a keyed number"),
    0x00081030: ("clean", "2020: kept as it is; here cleaned, for it may hold a name"),
    0x0008103E: ("clean", "2020: kept as it is; here cleaned, for it may hold a name"),
    0x00081115: ("remove", "2020 is silent; its items need ReferencedSOPInstanceUID, which the letter removes"),
    0x00081140: ("empty", "2020: removed; here emptied, for it has Type 2 in Enhanced CT"),
    0x00082112: ("empty", "2020: removed; here emptied, for it has Type 2 in Enhanced CT"),
    0x00083010: ("uid", "2020: removed; here a keyed UID, for it has Type 1 in Enhanced CT"),
    0x00100010: ("patient", "2020: SITEID and number"),
    0x00100020: ("patient", "2020: SITEID and number"),
    0x00100030: ("birth", "2020: shifted with the other dates; here emptied where it would tell an age over 89"),
    0x00101010: ("age", "2020: kept as it is; here over 89 becomes 090Y"),
    0x00400555: ("empty", "2020: removed; here emptied, for it has Type 2 in DX and Enhanced CT"),
}


def decide_2020(tag: int, keyword: str, vr: str, facts: Facts) -> tuple[str, str]:
    """The action of one attribute, and why: a departure, the appendix, or the `ricord` table where both are silent."""
    if tag in DEPARTURES:
        return DEPARTURES[tag][0], f"decision: {DEPARTURES[tag][1]}"
    if tag in facts.appendix:
        action = BY_2020.get(facts.appendix[tag], facts.appendix[tag])
        if action == "uid":
            return action, "2020: an unkeyed hash; here a keyed UID"
        return action, "2020: shifted by an unkeyed number; here by a keyed one" if action == "shift" else "2020"
    if tag >> 16 == TRIAL and tag not in DECISIONS:
        return "remove", "2020 is silent; removed, for it may name the site"
    action, source = decide(tag, keyword, vr, facts)
    return action, source if source.startswith("2020") else f"2020 is silent; {source}"
