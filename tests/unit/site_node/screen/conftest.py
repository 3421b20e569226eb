"""An image that every rule accepts."""

import pytest

from site_node.screen.facts import Facts, read_facts
from tests.factories.dicom import make_ct, write_file
from tests.factories.studies import make_instance


@pytest.fixture(scope="module")
def slice_facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """What is known of a good axial slice at the origin, of a grown-up."""
    path = write_file(make_ct(slices=1, ImagePositionPatient=[0, 0, 0])[0], tmp_path_factory.mktemp("slice") / "one")
    return read_facts(make_instance(path))
