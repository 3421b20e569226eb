"""The section `[console]` of a program's settings: where its pages are answered, and by which names."""

from ipaddress import ip_address
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from shared.frozen import Frozen

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class ConsoleSettings(Frozen):
    """Where it listens: on this machine only, unless `host` names another address, for which TLS is needed."""

    port: int = Field(default=8420, ge=1, le=65_535)
    host: str = Field(default="127.0.0.1", min_length=1)
    names: tuple[str, ...] = ()  # by which browsers may ask for it, besides its address
    certificate: Path | None = None  # PEM files, below the program's folder
    key: Path | None = None

    @model_validator(mode="after")
    def _is_encrypted_on_the_network(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("`certificate` and `key` go together")
        if not (self.is_loopback or self.is_encrypted):
            raise ValueError("an address that others reach needs `certificate` and `key`: passphrases go over it")
        if not self.is_loopback and not self.names:
            raise ValueError("an address that others reach needs `names`, by which browsers ask for it")
        return self

    @property
    def is_encrypted(self) -> bool:
        """Whether it is served over TLS."""
        return self.certificate is not None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def hosts(self) -> frozenset[str]:
        """What a request may have as its Host: a page of another name that resolves to us is a stranger's."""
        own = (*_LOOPBACK, self.host) if self.is_loopback else ()
        names = [f"[{name}]" if ":" in name else name.lower() for name in (*own, *self.names)]
        with_port = {f"{name}:{self.port}" for name in names}
        return frozenset(with_port | set(names) if self.port == _DEFAULT_PORTS[self._scheme] else with_port)

    @property
    def origins(self) -> frozenset[str]:
        """What a form that was sent from a page of ours has as its Origin."""
        return frozenset(f"{self._scheme}://{host}" for host in self.hosts)

    @property
    def address(self) -> str:
        """Where a person opens it, without a slash at the end."""
        name = next(iter(self.names), self.host)
        return f"{self._scheme}://{f'[{name}]' if ':' in name else name}:{self.port}"

    @property
    def _scheme(self) -> str:
        return "https" if self.is_encrypted else "http"
