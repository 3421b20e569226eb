"""The curator's second look: each image by itself, by the protocol's lists and the words that its study brings.

The site has looked with the source beside it. Here nothing of the hospital is known, so that whatever the profile does
not keep is a finding, and so is every word outside the lists.
"""

from pathlib import Path

from shared.crypto.contents import Contents
from shared.errors import SealedFileInvalid
from shared.protocol.profile import Profile


def look_again(folder: Path, contents: Contents, profile: Profile) -> None:
    """Raise `SealedFileInvalid`, with code and attribute, where a file of an unpacked study has what may not leave."""
    from site_node.validate.conformance import check_file, make_rules

    rules = make_rules(profile, contents.site_id, contents.accepted)
    for instance in contents.instances:
        for finding in check_file((folder / f"{instance.sop_instance_uid}.dcm").read_bytes(), rules):
            if not finding.is_inheritable:
                attribute = f" ({finding.attribute})" if finding.attribute else ""
                raise SealedFileInvalid(problem=f"an image has what may not leave: {finding.code}{attribute}")
