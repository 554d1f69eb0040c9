"""The saved models side by side: test accuracy, parameters, file size, CPU milliseconds per image.

    python model_comparison.py                             # models in output/
    python model_comparison.py --output-dir output/demo    # those of the demo

Writes model_comparison.png, .csv and .json to the folder of the models.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import artifacts, data, hardware, latency, metrics, plots
from pipeline.cli import flag, parse
from pipeline.errors import run


@dataclass(frozen=True)
class Config:
    """Every knob; each is a flag, see --help."""

    batch_size: int = flag(256, "images per call of the batch timing", minimum=2)
    repetitions: int = flag(20, "timed calls of each kind, after three that warm up", minimum=5)
    data_dir: str | None = flag(None)
    output_dir: str = flag("output", "folder with the models, and for the results")


def measure(path: Path, config: Config) -> dict:
    """One row of the comparison. The data set is the one that the file says it belongs to."""
    about, model = artifacts.about_model(path), artifacts.load_model(path)
    dataset = data.load(about["dataset"], config.data_dir)
    probabilities = artifacts.predict(model, dataset.x_test, what=f"images of {dataset.title} through {path.name}")
    matrix = metrics.confusion_matrix(dataset.y_test, probabilities.argmax(axis=1), len(about["class_names"]))
    single = 1000 * latency.timings(model, dataset.x_test, 1, config.repetitions)
    batch = 1000 * latency.timings(model, dataset.x_test, config.batch_size, config.repetitions) / config.batch_size
    return {
        "name": model.name,
        "title": about["title"],
        "file": path.name,
        "dataset": about["dataset"],
        "n_test": len(dataset.y_test),
        "test_accuracy": metrics.accuracy(matrix),
        "macro_f1": metrics.macro_f1(matrix),
        "error_percent": 100 * (1 - metrics.accuracy(matrix)),
        "parameters": model.count_params(),
        "file_megabytes": path.stat().st_size / 1e6,
        "single_ms": float(np.median(single)),
        "single_ms_p95": float(np.percentile(single, 95)),
        "batch_size": config.batch_size,
        "batch_ms": float(np.median(batch)),
        "batch_ms_p95": float(np.percentile(batch, 95)),
    }


def table(rows: list[dict]) -> str:
    """The comparison as aligned text."""
    head = f"{'model':<14}{'data':<10}{'accuracy':>9}{'parameters':>12}{'MB':>7}"
    head += f"{'1 image ms (p95)':>20}{'batch ms (p95)':>18}"
    lines = [
        f"{row['name']:<14}{row['dataset']:<10}{row['test_accuracy']:>9.4f}{row['parameters']:>12,}"
        f"{row['file_megabytes']:>7.1f}{row['single_ms']:>12.2f} ({row['single_ms_p95']:.2f})"
        f"{row['batch_ms']:>11.3f} ({row['batch_ms_p95']:.3f})"
        for row in rows
    ]
    return "\n".join([head, *lines])


def main(argv: list[str] | None = None) -> int:
    """Measure what is there, name what is missing."""
    config = parse(Config, argv, about=__doc__)
    folder = Path(config.output_dir)
    rows = [measure(path, config) for path in artifacts.finished_models(folder)]
    print(table(rows))
    artifacts.write_csv(folder / "model_comparison.csv", pd.DataFrame(rows))
    plots.comparison(rows, folder / "model_comparison.png")
    about = {"hardware": hardware.describe(), "versions": hardware.versions(), "commit": hardware.commit()}
    artifacts.write_json(folder / "model_comparison.json", {"models": rows, **about})
    print(f"{folder / 'model_comparison.png'}, .csv, .json")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
