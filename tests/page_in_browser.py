"""Fixtures of the page's tests, which conftest.py imports: one server, and one browser with a film for a camera."""

import os
import re

import numpy as np
import pytest
from PIL import Image, ImageDraw

PAPERS = (205, 150)  # brightness of the film's two papers, a 0 on the first and a 7 on the second
# Writes the name of every computer that the process looks up or connects to.
RECORDER = """
import os, sys
file = os.open({path!r}, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
def record(event, arguments):
    if event == "socket.getaddrinfo" and arguments[0]:
        os.write(file, f"{{arguments[0]}}\\n".encode())
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        os.write(file, f"{{arguments[1][0]}}\\n".encode())
sys.addaudithook(record)
"""


@pytest.fixture(scope="session")
def collected(tmp_path_factory):
    """Where the page keeps pictures."""
    return tmp_path_factory.mktemp("data") / "collected"


@pytest.fixture(scope="session")
def page(folder, collected, tmp_path_factory):
    """The page's address, and the file of the computers that its server called."""
    from ui import screenshots

    spy = tmp_path_factory.mktemp("spy")
    (spy / "sitecustomize.py").write_text(RECORDER.format(path=str(spy / "called")))
    paths = [str(spy), *filter(None, [os.environ.get("PYTHONPATH")])]
    # A proxy that is not there: Windows and Macs may name one for the whole system.
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    environment = {**os.environ, **proxies, "PYTHONPATH": os.pathsep.join(paths)}
    flags = ("--output-dir", str(folder), "--collected", str(collected))
    with screenshots.server(*flags, environment=environment, seconds=600) as address:
        (folder / "demo" / "vanishing.h5").unlink()
        yield address, spy / "called"


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Chromium, whose camera shows a 0 and a 7 by turns, five pictures of each."""
    from ui import screenshots

    pytest.importorskip("playwright", reason='optional: pip install -e ".[dev]"')
    if screenshots.chromium() is None:
        pytest.skip("no Chromium on this computer: apt-get install chromium")
    pictures = []
    for paper, digit in zip(PAPERS, ("0", "7"), strict=True):
        picture = Image.new("L", (320, 240), paper)
        draw = ImageDraw.Draw(picture)
        if digit == "0":
            draw.ellipse((125, 60, 195, 180), outline=20, width=13)
        else:
            draw.line([(130, 60), (190, 60), (150, 180)], fill=20, width=13, joint="curve")
        pictures += 5 * [np.asarray(picture)]
    film = screenshots.film(tmp_path_factory.mktemp("film") / "digits.y4m", pictures)
    with screenshots.browser(film) as browser:
        yield browser


@pytest.fixture
def open_tab(page, browser):
    """Opens the page in a tab of its own, ready to draw on; options as Browser.new_page()."""
    tabs = []

    def opened(script: str = "", **options):
        tab = browser.new_page(**{"viewport": {"width": 1280, "height": 1100}, **options})
        tabs.append(tab)
        tab.set_default_timeout(120_000)  # milliseconds; the first answer loads the models
        tab.add_init_script(script)
        tab.goto(page[0])
        tab.locator("#draw canvas[data-ready]").wait_for()
        return tab

    yield opened
    for tab in tabs:
        tab.close()


@pytest.fixture
def bars():
    """Class and probability of each bar in a card, best first."""
    found = re.compile(r'data-class="([^"]*)" data-probability="([^"]*)"')
    return lambda card: [(name, float(probability)) for name, probability in found.findall(card)]


@pytest.fixture
def says():
    """Waits until the most probable class of a card, by its id, is this one."""
    return lambda tab, card, name: tab.locator(f'#{card} .bars li:first-child[data-class="{name}"]').wait_for()
