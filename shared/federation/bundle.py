"""Flower's app bundle (FAB) without code: both apps load from the installed wheel by their component strings.

A FAB is a zip of `pyproject.toml`, the files it includes and `.info/CONTENT`, one line `path,sha256,bits` each (Flower
1.42, FAB format 1, which asks for a licence file). Ours is stored uncompressed with one fixed date, so that one release
of this project has one digest on every machine, and a site can list it in its policy.
"""

import hashlib
import io
import zipfile

from shared.ids import Sha256

FLOWER_VERSION = "1.42.0"
SERVER_APP = "coordinator.federation.server_app:app"
CLIENT_APP = "site_node.federate.client_app:app"

_PYPROJECT = f"""\
[project]
name = "ricord-federation"
version = "1.0.0"
description = "Parameters only: the apps are those of the installed ricord-federation wheel."
license = {{ file = "LICENSE" }}
dependencies = ["flwr>={FLOWER_VERSION}"]

[tool.flwr.app]
publisher = "ricord"
fab-format-version = 1
flwr-version-target = "{FLOWER_VERSION}"
fab-include = ["README.md"]

[tool.flwr.app.components]
serverapp = "{SERVER_APP}"
clientapp = "{CLIENT_APP}"

[tool.flwr.app.config]
"""
_FILES = {
    "pyproject.toml": _PYPROJECT,
    "LICENSE": "Apache-2.0; the whole text is in the ricord-federation distribution.\n",
    "README.md": "This bundle holds no code. Both apps are loaded from the installed ricord-federation wheel.\n",
}
_DATE = (2024, 10, 1, 0, 0, 0)


def build_bundle() -> bytes:
    """The FAB of this release, the same bytes every time."""
    content = "\n".join(_content_line(path, text.encode()) for path, text in _FILES.items())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as bundle:
        for path, text in {**_FILES, ".info/CONTENT": content}.items():
            member = zipfile.ZipInfo(path, date_time=_DATE)
            member.create_system = 3  # Unix everywhere, or the digest would depend on the machine
            bundle.writestr(member, text.encode())
    return buffer.getvalue()


def bundle_digest() -> Sha256:
    """SHA-256 of `build_bundle()`: what a site's policy lists."""
    return Sha256(hashlib.sha256(build_bundle()).hexdigest())


def _content_line(path: str, data: bytes) -> str:
    return f"{path},{hashlib.sha256(data).hexdigest()},{len(data) * 8}"
