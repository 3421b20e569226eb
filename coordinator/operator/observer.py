"""An observer: a member who sees what operators see, and can change nothing."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from coordinator.home.keyed_person import KeyedHome
from coordinator.home.person import PersonSettings
from coordinator.home.settings import CONSOLE_PORT, PROGRAM
from shared.crypto.pki import Role
from shared.settings import load_settings


class ObserverSettings(PersonSettings):
    """`observer.toml`."""

    console_port: int = Field(default=CONSOLE_PORT, ge=1, le=65_535)  # of the pages, on this machine alone


@dataclass(frozen=True)
class ObserverHome(KeyedHome):
    """Where an observer keeps keys and identity."""

    role = Role.OBSERVER

    @property
    def settings_file(self) -> Path:
        """`observer.toml`."""
        return self.folder / "observer.toml"

    def settings(self) -> ObserverSettings:
        """Read `observer.toml`."""
        return load_settings(self.settings_file, ObserverSettings, program=PROGRAM)
