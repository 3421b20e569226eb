"""The curator's second look: each image by itself, by the protocol's lists and the words that its study brings.

The site has looked with the source beside it. Here nothing of the hospital is known, so that whatever the profile does
not keep is a finding, and so is every word outside the lists.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from shared.crypto.contents import Contents
from shared.errors.studies import SealedFileInvalid
from shared.protocol.profile import Profile

if TYPE_CHECKING:
    from site_node.validate.conformance import Rules


def look_again(folder: Path, contents: Contents, profile: Profile, edition: str = "") -> None:
    """Raise `SealedFileInvalid`, with code and attribute, where a file of an unpacked study has what may not leave.

    The tables are those installed, whatever edition the study was made under: only the method may name that `edition`.
    """
    from site_node.validate.conformance import make_rules

    methods = dict.fromkeys((profile.method, profile.method.replace(profile.edition, edition or profile.edition)))
    profiles = [profile.model_copy(update={"method": method}) for method in methods]
    every = [make_rules(each, contents.site_id, contents.accepted) for each in profiles]
    for instance in contents.instances:
        data = (folder / f"{instance.sop_instance_uid}.dcm").read_bytes()
        problems = [problem for rules in every if (problem := _first_finding(data, rules))]
        if len(problems) == len(every):
            raise SealedFileInvalid(problem=f"an image has what may not leave: {problems[-1]}")


def _first_finding(data: bytes, rules: "Rules") -> str:
    from site_node.validate.conformance import check_file

    for finding in check_file(data, rules):
        if not finding.is_inheritable:
            return f"{finding.code} ({finding.attribute})" if finding.attribute else finding.code
    return ""
