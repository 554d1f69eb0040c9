"""Put measured figures into README.md and technical_report.md: python -m pipeline.report [--check].

A figure in the text stands between two comments that name its source, and is replaced in place:

    <!-- cifar100_metrics.json test_accuracy .4f -->0.1234<!-- / -->

The first word is a file in output/, the second a path of keys into it, the third a Python format.
A whole table stands between <!-- table NAME --> and <!-- /table -->; NAME is a function below.
"""

import json
import re
import sys
from pathlib import Path

from pipeline.progress import clock

PROJECT = Path(__file__).resolve().parent.parent
TEXTS = ("README.md", "technical_report.md")
FIGURE = re.compile(r"<!-- (\S+\.json) (\S+) (\S+) -->(.*?)<!-- / -->", re.DOTALL)
TABLE = re.compile(r"<!-- table (\w+) -->\n(.*?)<!-- /table -->", re.DOTALL)
RUNS = {
    "baseline/cifar100": "CNN from scratch",
    "cifar100": "CNN from scratch",
    "custom_cnn": "custom CNN",
    "resnet50": "ResNet50",
}


def read(name: str) -> dict:
    """One result file of output/."""
    return json.loads((PROJECT / "output" / name).read_text(encoding="utf-8"))


def figure(name: str, keys: str, form: str) -> str:
    """A number from a result file; form is a Python format, or "clock" for seconds as h:mm:ss."""
    value = read(name)
    for key in keys.split("."):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return clock(value) if form == "clock" else format(value, form)


def runs() -> str:
    """What each training script reached."""
    lines = [
        "| model | data | recipe | epochs | training images "
        "| test accuracy | test loss | macro F1 | parameters | time |",
        "| --- | --- | --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for prefix, name in RUNS.items():
        run = read(f"{prefix}_metrics.json")
        start = f", start: {run['weights']['file']}" if "weights" in run else ""
        lines.append(
            f"| {name}{start} | {run['dataset']} | {run['recipe']}, seed {run['seed']} "
            f"| {run['epochs']} | {run['n_train']:,} "
            f"| {run['test_accuracy']:.4f} | {run['test_loss']:.4f} | {run['macro_f1']:.4f} | {run['parameters']:,} "
            f"| {clock(run['wall_seconds'])} |"
        )
    return "\n".join(lines)


def comparison() -> str:
    """Size and CPU time of the saved models."""
    lines = [
        "| model | test accuracy | parameters | file (MB) "
        "| one image: ms (95th percentile) | batch of 256: ms per image |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for row in read("model_comparison.json")["models"]:
        lines.append(
            f"| {row['name']} ({row['dataset']}) | {row['test_accuracy']:.4f} | {row['parameters']:,} "
            f"| {row['file_megabytes']:.1f} | {row['single_ms']:.2f} ({row['single_ms_p95']:.2f}) "
            f"| {row['batch_ms']:.3f} |"
        )
    return "\n".join(lines)


def cifar100_recipes() -> str:
    """What each recipe of cifar100_cnn.py reached, over its seeds."""
    lines = [
        "| recipe | labels in training | epochs | test accuracy | n | with test-time augmentation | macro F1 | time |",
        "| --- | --- | --: | --: | --: | --: | --: | --: |",
    ]
    for result in read("cifar100_results.json").values():
        config = result["config"]
        lines.append(
            f"| {config['recipe']} | {config['labels']} | {config['epochs']} | {spread(result['test_accuracy'])} "
            f"| {result['test_accuracy']['n']} "
            f"| {spread(result['tta_accuracy']) if 'tta_accuracy' in result else 'not measured'} "
            f"| {spread(result['macro_f1'])} | {clock(result['wall_seconds']['mean'])} |"
        )
    return "\n".join(lines)


def spread(figures: dict) -> str:
    """Mean and sample standard deviation of some runs."""
    return f"{figures['mean']:.4f}" + ("" if figures["std"] is None else f" ± {figures['std']:.4f}")


TABLES = {"runs": runs, "comparison": comparison, "cifar100_recipes": cifar100_recipes}


def render(text: str) -> str:
    """The text with every marked figure and table made anew from output/."""
    text = FIGURE.sub(lambda m: f"<!-- {m[1]} {m[2]} {m[3]} -->{figure(m[1], m[2], m[3])}<!-- / -->", text)
    return TABLE.sub(lambda m: f"<!-- table {m[1]} -->\n{TABLES[m[1]]()}\n<!-- /table -->", text)


def main() -> int:
    """Rewrite the texts; with --check only compare, exit code 1 where they differ."""
    stale = []
    for name in TEXTS:
        path = PROJECT / name
        text = path.read_text(encoding="utf-8")
        if (new := render(text)) != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    print(f"{'differs from output/' if '--check' in sys.argv else 'rewritten'}: {', '.join(stale) or 'nothing'}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
