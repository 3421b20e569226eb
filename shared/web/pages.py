"""Templates as HTML: every value escaped, a missing value an error, and nothing inline that a browser would run."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from shared.counts import counted


class Pages:
    """The templates of a console's package, over those of the frame."""

    def __init__(self, title: str, packages: Sequence[str]) -> None:
        loaders = [PackageLoader(package) for package in (*packages, "shared.web")]
        self._environment = Environment(
            loader=ChoiceLoader(loaders),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals.update(console=title, counted=counted)
        self._environment.filters.update(moment=_moment, size=_size, coded=_coded)

    def render(self, template: str, values: Mapping[str, object]) -> str:
        """The page."""
        return self._environment.get_template(template).render(values)


def _coded(text: str) -> Markup:
    """A sentence of ours, whose words between backticks are shown as code; all is escaped."""
    parts = enumerate(text.split("`"))
    return Markup().join(Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in parts)


def _moment(at: datetime) -> str:
    """A time as this machine's clock shows it."""
    return f"{at.astimezone():%Y-%m-%d %H:%M}"


def _size(count: float) -> str:
    """Bytes in the unit that keeps three digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
