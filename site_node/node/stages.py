"""What the pipeline does at each stage, as functions: the site composes them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shared.errors.base import RicordError
from site_node.blanking import Blanking
from site_node.study import Deidentified, Excluded, Included, Received, Refused, Review, Sealed, Submitted, Validated

Inspect = Callable[[Deidentified, frozenset[str]], Deidentified | Refused]


@dataclass(frozen=True)
class Stages:
    """What the pipeline does at each stage. A stage that is `None` is not open: studies wait before it.

    `screen` and `inspect` receive the codes of the reasons that a person released for the study, `deidentify` and
    `validate` the boxes that a person decided to blank.
    """

    screen: Callable[[Received, frozenset[str]], Included | Review | Excluded]
    deidentify: Callable[[Included, Path, Blanking | None], Deidentified | Refused] | None = None
    inspect: Inspect | None = None
    is_outdated: Callable[[Deidentified], bool] = lambda _output: False  # then it begins again
    validate: Callable[[Included, Deidentified, Path, Blanking | None], Validated | Refused] | None = None
    add_to_library: Callable[[Validated], None] | None = None
    seal: Callable[[Validated, int], Sealed] | None = None
    submit: Callable[[Sealed], Submitted] | None = None
    is_superseded: Callable[[Sealed], bool] = lambda _sealed: False  # sealed under an earlier version of the agreement
    is_of_another_edition: Callable[[Sealed], bool] = lambda _sealed: False  # than the one installed, which is covered
    obstacle: Callable[[], RicordError | None] = lambda: None  # for which every study waits that is not sealed
