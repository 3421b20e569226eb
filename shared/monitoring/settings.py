"""The sections of both programs' settings by which others watch a service."""

from pydantic import Field

from shared.frozen import Frozen
from shared.service_url import ServiceUrl


class MonitorSettings(Frozen):
    """`[monitor]`: where a service answers `/metrics`, `/livez` and `/readyz`.

    It is plain HTTP without a key, so on this machine only unless `host` names another address.
    """

    port: int = Field(ge=1, le=65_535)
    host: str = Field(default="127.0.0.1", min_length=1)


class OtlpSettings(Frozen):
    """`[otlp]`: the collector that a service sends its log to, by OTLP over HTTP."""

    endpoint: ServiceUrl  # lines go to `/v1/logs` below it
