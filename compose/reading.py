"""The reading of films on this machine: three hospitals submit, a curator reviews, and pages wait for four readers.

Everything goes the way that it goes between hospitals: synthetic films are received, de-identified, sealed, submitted,
opened, checked, marked and confirmed by a named person; `--by-hand` leaves that to whoever follows the link of the
review. Then a link is printed for each reader; Ctrl-C ends it all.
"""

import argparse
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compose.demo.federation import COORDINATOR, Federation, Hospital, together
from compose.demo.programs import StepFailed, call, call_json, free_ports
from compose.demo.progress import Steps
from compose.local import NAMES, open_sealed, submit_studies
from compose.sample_hospital import write_hospital

FILMS = 4  # of each hospital
CURATOR = "A. Miller"
READERS = ("Anna", "Ben", "Chloe")
ADJUDICATOR = "Dora"


def main() -> int:
    """Run it; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("reading-run"), help="where everything is made anew")
    parser.add_argument("--by-hand", action="store_true", help="leave the review to a person, whose link is printed")
    parser.add_argument("--until-ready", action="store_true", help="end once the links are printed")
    options = parser.parse_args()
    folder = options.folder.resolve()
    if folder.exists() and any(folder.iterdir()) and not (folder / ".reading").exists():
        parser.error(f"{folder} is not empty and not of an earlier run; name another --folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / ".reading").touch()
    steps, federation, stop = Steps(), Federation(folder, "ricord"), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        links = play(federation, steps, by_hand=options.by_hand)
        for name, link in links.items():
            steps.console.print(f"{name:<11}{link}", soft_wrap=True)
        if not options.until_ready:
            steps.console.print("Each link works once, in a browser (or a private window) of its own. Ctrl-C ends it.")
            stop.wait()
    except StepFailed as error:
        steps.console.print(f"[red]✗[/red] {error}", markup=True)
        return 1
    finally:
        federation.services.stop()
    return 0


def play(federation: Federation, steps: Steps, *, by_hand: bool) -> dict[str, str]:
    """Every step in order; the links by person."""
    with steps.step("Three hospitals' archives"):
        hospitals = [hospital(federation.folder, number) for number in (1, 2, 3)]
    with steps.step("Coordinator, curator, agreements"):
        federation.start_coordinator("--no-federation")
        federation.appoint_curator()
        together(federation.enrol, hospitals)
    result: dict[str, Any] = {}
    submit_studies(steps, hospitals, result)
    open_sealed(federation, steps, result)
    links = dict[str, str]()
    if by_hand:
        with steps.step("Curator: pages for the review") as notes:
            links[CURATOR] = serve_review(federation)
            notes.append(f"{result['opened']} studies to look at")
    else:
        with steps.step("Curator: every image marked, every study confirmed by name") as notes:
            notes.append(review(federation.curator))
    with steps.step("Readers and an adjudicator, and their pages") as notes:
        (port,) = free_ports(1)
        with (federation.curator / "curator.toml").open("a", encoding="utf-8") as settings:
            settings.write(f"\n[reading]\nport = {port}\n")
        links |= {name: invite(federation.curator, name, "reader") for name in READERS}
        links[ADJUDICATOR] = invite(federation.curator, ADJUDICATOR, "adjudicator")
        serve = ("--home", str(federation.curator), "curate", "reading", "serve")
        federation.services.start("reading", COORDINATOR, *serve, ready="ready")
        films = call_json(COORDINATOR, "--home", str(federation.curator), "curate", "reading", "list")
        notes.append(f"{len(films)} films to read now")
    return links


def hospital(folder: Path, number: int) -> Hospital:
    """A hospital with its archive and sheet."""
    place = folder / f"hospital-{number}"
    sample = write_hospital(place, hospital=number, seed=40 + number, radiographs=FILMS)
    return Hospital(name=NAMES[number - 1], archive=sample.archive, sheet=sample.sheet, home=place / "node")


def review(curator: Path) -> str:
    """Mark and confirm every study that a person may confirm; a finding that asks for a person is allowed by name."""
    home, person = ("--home", str(curator), "curate", "review"), ("--as", CURATOR)
    states: Sequence[dict[str, Any]] = call_json(COORDINATOR, *home, "list")
    confirmed = 0
    for study in states:
        call(COORDINATOR, *home, "mark", study["submission"], "good", *person)
        if study["verdict"] != "reject":
            allowed = [word for code in study["to_allow"] for word in ("--allow", code)]
            call(COORDINATOR, *home, "confirm", study["submission"], *person, *allowed)
            confirmed += 1
    return f"{confirmed} of {len(states)} accepted"


def serve_review(federation: Federation) -> str:
    """Serve the review's pages; the link by which the curator's person signs in."""
    (port,) = free_ports(1)
    serve = ("--home", str(federation.curator), "curate", "review", "serve", "--as", CURATOR, "--port", str(port))
    federation.services.start("review", COORDINATOR, *serve, ready="ready")
    log = (federation.services.logs / "review.log").read_text(encoding="utf-8")
    return log.partition("ready: ")[2].split()[0]


def invite(curator: Path, name: str, role: str) -> str:
    """Add a reader, and give the link by which they sign in."""
    arguments = ("--home", str(curator), "curate", "reader", "add", name, "--role", role)
    return str(call_json(COORDINATOR, *arguments)["link"])


if __name__ == "__main__":
    sys.exit(main())
