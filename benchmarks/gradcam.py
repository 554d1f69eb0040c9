"""What an explanation costs: 100 images explained, over one forward pass of the same batch.

    python benchmarks/gradcam.py            # every model in output/; about two minutes on two idle cores
    python benchmarks/gradcam.py --costly   # Score-CAM and occlusion as well

Forward pass and methods take turns in one process (A B C A B C), so that a machine that drifts favours
none; medians. An explanation is all of it: raw pixels in, maps of the predicted class at the images'
size out. What is compiled once per layer is done before the clock starts. Writes
output/benchmark_gradcam.json.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import atomic_io, backend
from pipeline.config import flag, parse
from pipeline.data import datasets
from pipeline.errors import exit_code
from pipeline.explain import cam, explainer
from pipeline.models import saved_model


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    images: int = flag(100, "images in the batch", minimum=1)
    rounds: int = flag(10, "turns, after two that warm up", minimum=1)
    costly: bool = flag(False, "measure Score-CAM and occlusion, too: dozens of forward passes each")
    data_dir: str | None = flag(None)
    output_dir: str = flag("output", "folder with the models, and for the result")


def measure(path: Path, config: Config) -> dict:
    """Median seconds of a forward pass and of each method, and each method's ratio to the former."""
    about, model = saved_model.metadata(path), saved_model.load(path)
    images = datasets.load(about["dataset"], config.data_dir).x_test[: config.images].astype(np.float32)
    explain = explainer.Explainer(model)

    def explanation(method: str, layer: str | None = None):
        return lambda: explain(images, None, method, layer)

    ways = {"forward": lambda: np.asarray(model.predict_on_batch(images))}
    ways |= {method: explanation(method) for method in cam.METHODS}
    ways["layer-cam fused"] = explanation("layer-cam", explainer.FUSED)
    if config.costly:
        ways |= {method: explanation(method) for method in ("score-cam", "occlusion")}
    seconds = {name: [] for name in ways}
    for _ in range(2 + config.rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: float(np.median(times[2:])) for name, times in seconds.items()}
    ratios = {name: value / medians["forward"] for name, value in medians.items() if name != "forward"}
    print(f"{path.name}: {config.images} images forward in {1000 * medians['forward']:.0f} ms; times that:")
    print("   " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()), flush=True)
    return {"model": about["prefix"], "layer": explainer.default_layer(model), "seconds": medians, "ratios": ratios}


def main(argv: list[str] | None = None) -> int:
    """Measure every saved model of a folder."""
    config = parse(Config, argv, about=__doc__)
    folder = Path(config.output_dir)
    found = [measure(path, config) for path in saved_model.finished(folder)]
    result = {"images": config.images, "rounds": config.rounds, "models": found, **backend.provenance()}
    atomic_io.write_json(folder / "benchmark_gradcam.json", result)
    print(folder / "benchmark_gradcam.json")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
