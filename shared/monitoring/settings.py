"""The section `[monitor]` of both programs' settings: where a service answers `/metrics`, `/livez` and `/readyz`."""

from pydantic import Field

from shared.frozen import Frozen


class MonitorSettings(Frozen):
    """Where it listens: plain HTTP without a key, so on this machine only unless `host` names another address."""

    port: int = Field(ge=1, le=65_535)
    host: str = Field(default="127.0.0.1", min_length=1)
