"""The FAB of this release: the same everywhere, without code, and accepted by Flower."""

import hashlib
import io
import tomllib
import zipfile
from importlib import import_module

from flwr.clientapp import ClientApp
from flwr.common.config import get_fab_config
from flwr.serverapp import ServerApp

from shared.federation.bundle import FLOWER_VERSION, build_bundle, bundle_digest


def test_the_bundle_is_the_same_every_time() -> None:
    """Two builds are equal, so a site's policy can list the bundle's digest."""
    assert build_bundle() == build_bundle()
    assert len(bundle_digest()) == 64


def test_the_bundle_carries_no_code() -> None:
    """The bundle holds nothing that can be imported or run."""
    with zipfile.ZipFile(io.BytesIO(build_bundle())) as bundle:
        assert sorted(bundle.namelist()) == [".info/CONTENT", "LICENSE", "README.md", "pyproject.toml"]


def test_flower_accepts_the_bundle_and_both_apps_are_of_the_wheel() -> None:
    """Flower's own check passes, and the component strings name apps of this distribution."""
    components = get_fab_config(build_bundle())["tool"]["flwr"]["app"]["components"]
    loaded = {name: getattr(import_module(text.split(":")[0]), text.split(":")[1]) for name, text in components.items()}
    assert isinstance(loaded["serverapp"], ServerApp)
    assert isinstance(loaded["clientapp"], ClientApp)


def test_the_bundle_asks_for_the_pinned_flower() -> None:
    """The version in the bundle is the one that is installed and pinned."""
    with zipfile.ZipFile(io.BytesIO(build_bundle())) as bundle:
        project = tomllib.loads(bundle.read("pyproject.toml").decode())["project"]
    assert project["dependencies"] == [f"flwr>={FLOWER_VERSION}"]


def test_every_machine_and_day_makes_the_bundle_that_policies_list() -> None:
    """Its digest stands in each site's policy, so whoever changes it changes this line and says so in CHANGELOG.md."""
    assert bundle_digest() == "96a46c589d859ca1bc4be49c2ecdcea00a91e1cca06db9695df507c0cd2ea0b0"


def test_the_bundle_says_what_it_holds() -> None:
    """Path, SHA-256 and size in bits of each file, stored as it is."""
    with zipfile.ZipFile(io.BytesIO(build_bundle())) as bundle:
        for line in bundle.read(".info/CONTENT").decode().splitlines():
            path, digest, bits = line.split(",")
            data = bundle.read(path)
            assert (hashlib.sha256(data).hexdigest(), 8 * len(data)) == (digest, int(bits))
        assert {each.compress_type for each in bundle.infolist()} == {zipfile.ZIP_STORED}
