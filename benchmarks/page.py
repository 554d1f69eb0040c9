"""How long the page takes to answer a drawn digit, from lifting the pen to the plots on the screen.

    python benchmarks/page.py            # about half a minute

A 7 is drawn again and again in Chromium, on the page as it opens: the first two digit models of output/ side by side
with Grad-CAM. The first drawing, which loads the models, is reported apart. Writes benchmark_page.json.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import results
from pipeline.config import flag, parse
from pipeline.errors import exit_code
from pipeline.train.identity import OUTPUT

ROUNDS = 20


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    output_dir: str | None = flag(None, "folder with the models, and for the result; else output/", recorded=False)


def measure(models: Path) -> list[float]:
    """Milliseconds of each answer; the first one loads the models."""
    from ui import screenshots

    milliseconds = []
    with screenshots.server("--output-dir", str(models.resolve())) as address, screenshots.browser() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(120_000)  # milliseconds; the first answer loads the models
        page.goto(address)
        page.locator("#draw canvas").wait_for()
        plots = page.locator(".card figure").last
        for _ in range(1 + ROUNDS):
            lifted = screenshots.draw(page)
            plots.wait_for()
            milliseconds.append(1000 * (time.perf_counter() - lifted))
            page.locator("#draw button").click()
            plots.wait_for(state="detached")
    return milliseconds


def main(argv: list[str] | None = None) -> int:
    """Draw, wait for the answer, clear, and again."""
    config = parse(Config, argv, about=__doc__)
    first, *later = measure(Path(config.output_dir or OUTPUT))
    median, slowest = float(np.median(later)), max(later)
    print(f"first {first:.0f} ms, then median {median:.0f} ms, slowest {slowest:.0f} ms")
    result = {"first_ms": first, "median_ms": median, "slowest_ms": slowest, "rounds": ROUNDS}
    results.write("benchmark_page.json", config, result)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
