"""The reading of films of 3,000 x 2,500 in Chromium: how soon the first is there, how soon the next, and windowing."""

import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Page

from coordinator.curation.opening import list_opened
from coordinator.curation.reading.films import film_values, packed
from tests.benchmarks.measure import Row
from tests.factories.chromium import Watched, chromium
from tests.factories.consoles import PASSPHRASE
from tests.factories.ports import free_port
from tests.factories.programs import process
from tests.factories.reading import film_of, invite, reading_room

STUDIES, FRAMES = 5, 40
SHAPE = (3000, 2500)
# Frames a second of windowing, and of the floor: as many pixels put on the same canvas, unchanged.
WINDOWING = """async (frames) => {
  const film = films[0], next = () => new Promise(requestAnimationFrame);
  const timed = async (draw) => {
    const began = performance.now();
    for (let at = 0; at < frames; at++) { draw(at); await next(); }
    return (1000 * frames) / (performance.now() - began);
  };
  await next();
  const ours = await timed((at) => { film.center = 2000 + at; film.draw(); });
  return [ours, await timed(() => film.context.putImageData(film.image, 0, 0))];
}"""


def rows() -> list[Row]:
    """The first film beside its decoding alone, the next beside the first, windowing beside a picture that stays."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder)
        (home / "curator.toml").write_text(f'protocol = "ricord"\n[reading]\nport = {free_port()}\n')
        stack.enter_context(reading_room(home, STUDIES, film=lambda number: film_of(number, shape=SHAPE)))
        browser = stack.enter_context(chromium())
        stack.enter_context(process("coordinator.cli", home, "curate", "reading", "serve", ready="ready"))
        link = invite(home, "reader 0", "reader")
        reader = Watched(browser, link.partition("/invitation/")[0])
        reader.join(link, PASSPHRASE)
        page = reader.open("/")
        began = time.perf_counter()
        page.click("text=Read the next")
        page.wait_for_selector(".film[data-shown]")
        first = time.perf_counter() - began
        following = [_next(page) for _ in range(STUDIES - 1)]
        ours, floor = page.evaluate(WINDOWING, FRAMES)
        alone = _decoding(home / "opened")
    median = statistics.median(following)
    return [
        Row("first film of 3,000 x 2,500 shown", first * 1000, "ms", "decoding and packing", alone / first, None),
        Row("next study shown, read recorded", median * 1000, "ms", "the first", first / median, None),
        Row("windowing a film of 3,000 x 2,500", ours, "frames/s", "the same pixels put", ours / floor, None),
    ]


def _next(page: Page) -> float:
    """Seconds from Enter to the next study, once its films have come."""
    page.wait_for_timeout(4000)
    page.keyboard.press("4")
    name = page.locator(".reading").get_attribute("data-study")
    began = time.perf_counter()
    page.keyboard.press("Enter")
    page.wait_for_selector(f".reading:not([data-study='{name}']) .film[data-shown]")
    return time.perf_counter() - began


def _decoding(opened: Path) -> float:
    times = list[float]()
    for study in list_opened(opened):
        began = time.perf_counter()
        packed(film_values(study.instances[0]))
        times.append(time.perf_counter() - began)
    return statistics.median(times)
