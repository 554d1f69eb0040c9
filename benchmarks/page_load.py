"""The page under load: many visitors at once who draw, upload and switch models, without browsers.

    python benchmarks/page_load.py                             # 50 visitors for five minutes
    python benchmarks/page_load.py --visitors 5 --seconds 20   # a trial

Each visitor has a picture of their own, and looks whether the answer shows just that one. Reported are errors, answers
that showed another visitor's picture, the time to an answer (median, 95th percentile), the growth of the server's
memory, and files that it left behind. Speaks to the page at 127.0.0.1 alone. Writes benchmark_page_load.json.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import page, results
from pipeline.config import flag, parse
from pipeline.data.pictures import are_digits
from pipeline.errors import exit_code
from pipeline.train.identity import OUTPUT
from ui import data_uri, models

METHODS = ("grad-cam", "hires-cam", "layer-cam")
PAUSE = 2.0  # seconds at most between an answer and the next question
SHOWN = re.compile(r"data:image/png;base64,[^\"\\]+")  # in a card; the first picture is the one that the model saw


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    visitors: int = flag(50, "visitors at once", minimum=1, maximum=50)  # so many pictures differ
    seconds: int = flag(300, "how long they stay", minimum=1, maximum=3600)
    output_dir: str | None = flag(None, "folder with the models, and for the result; else output/", recorded=False)


@dataclass
class Seen:
    """What the visitors have seen: milliseconds of each answer, errors, and answers with a foreign picture."""

    milliseconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    foreign: int = 0


class Visitor:
    """One visitor with a picture, and what the page needs to know of them.

    Args:
        client: httpx.AsyncClient of the page's address.
        functions: api_name -> number, from the page's own description.
        titles: of two models.
    """

    def __init__(self, client, number: int, functions: dict[str, int], titles: list[str]):
        self.client, self.functions, self.titles = client, functions, titles
        self.name, self.random = f"visitor{number}", random.Random(number)
        picture = page.seven()
        picture = picture.rotate(number % 50 - 25, fillcolor=255, translate=(number % 20 - 10, 0))
        self.picture = page.sent(picture)
        self.own: str | None = None  # the picture as the model sees it, by the first answer

    async def ask(self, function: str, first) -> str:
        """The page's answer to a question, as JSON; RuntimeError where there is none."""
        titles = self.random.sample(self.titles, len(self.titles))
        chosen = [titles[0], titles[-1], self.random.choice(METHODS), "en"]
        question = {"fn_index": self.functions[function], "data": [first, *chosen], "session_hash": self.name}
        reply = await self.client.post("/gradio_api/queue/join", json=question)
        reply.raise_for_status()
        address = f"/gradio_api/queue/data?session_hash={self.name}"
        async with self.client.stream("GET", address) as events:
            async for line in events.aiter_lines():
                if "process_completed" in line:
                    said = json.loads(line.removeprefix("data: "))
                    if not said["success"]:
                        raise RuntimeError(f"the page failed: {said}")
                    return json.dumps(said["output"]["data"])
        raise RuntimeError("the page ended the stream without an answer")

    async def upload(self) -> dict:
        """Upload the picture, as the page does with a photo."""
        files = {"files": (f"{self.name}.png", data_uri.decoded(self.picture)[0], "image/png")}
        reply = await self.client.post("/gradio_api/upload", files=files)
        reply.raise_for_status()
        return {"path": reply.json()[0], "meta": {"_type": "gradio.FileData"}}

    async def stay(self, end: float, seen: Seen) -> None:
        """Draw, upload and switch models until the end, in an order drawn at random."""
        while time.monotonic() < end:
            what = self.random.choice(("draw", "draw", "photo", "answer")) if self.own else "draw"
            begun = time.perf_counter()
            try:
                given = None  # the picture from before, for other models or another method
                if what == "draw":
                    given = self.picture
                elif what == "photo":
                    given = await self.upload()
                self.look(await self.ask(what, given), seen)
                seen.milliseconds.append(1000 * (time.perf_counter() - begun))
            except Exception as error:  # whatever goes wrong under load is counted
                seen.errors.append(f"{what}: {error!r}"[:300])
            await asyncio.sleep(self.random.uniform(0, PAUSE))

    def look(self, answer: str, seen: Seen) -> None:
        """Compare the picture in an answer with the visitor's own."""
        shown = SHOWN.search(answer)
        if not shown:
            raise RuntimeError("an answer without a picture")
        self.own = self.own or shown[0]
        if shown[0] != self.own:
            seen.foreign += 1


async def visit(address: str, titles: list[str], config: Config) -> Seen:
    """Let all visitors come at once and stay."""
    import httpx

    seen, limits = Seen(), httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as client:
        described = (await client.get("/config")).json()
        functions = {one["api_name"]: one["id"] for one in described["dependencies"] if one["api_name"]}
        visitors = [Visitor(client, number, functions, titles) for number in range(config.visitors)]
        end = time.monotonic() + config.seconds
        await asyncio.gather(*(visitor.stay(end, seen) for visitor in visitors))
    pictures = [visitor.own for visitor in visitors if visitor.own]
    seen.foreign += len(pictures) - len(set(pictures))
    return seen


def megabytes(process: int) -> float:
    """Memory of a process that is in use; Linux alone says so."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1000


def child() -> int:
    """The number of this process' one child."""
    return int(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()[0])


def main(argv: list[str] | None = None) -> int:
    """Serve the page in a folder of its own, let the visitors come, and count."""
    from ui import screenshots

    config = parse(Config, argv, about=__doc__)
    folder = Path(config.output_dir or OUTPUT).resolve()
    titles = [name for name, path in models.found(folder).items() if are_digits(models.about(path))][:2]
    with tempfile.TemporaryDirectory() as temporary:
        environment = {**os.environ, "TMPDIR": temporary}
        with screenshots.server("--output-dir", str(folder), environment=environment, seconds=600) as address:
            trial = Config(visitors=1, seconds=5)
            asyncio.run(visit(address, titles, trial))  # loads the models
            before = megabytes(child())
            seen = asyncio.run(visit(address, titles, config))
            growth = megabytes(child()) - before
        left = sum(path.is_file() for path in Path(temporary).rglob("*"))
    result = {
        "answers": len(seen.milliseconds),
        "errors": len(seen.errors),
        "first_errors": seen.errors[:5],
        "foreign_pictures": seen.foreign,
        "median_ms": float(np.median(seen.milliseconds)) if seen.milliseconds else None,
        "p95_ms": float(np.percentile(seen.milliseconds, 95)) if seen.milliseconds else None,
        "memory_growth_mb": growth,
        "files_left": left,
        "visitors": config.visitors,
        "seconds": config.seconds,
    }
    for name, value in result.items():
        print(f"{name.replace('_', ' ')}: {value}")
    results.write("benchmark_page_load.json", config, result)
    return 1 if seen.errors or seen.foreign else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
