"""The saved models of a folder, and their names for people: "Custom CNN · MNIST · 99.7 %". No Gradio here."""

import functools
import re
from collections import Counter
from pathlib import Path

from pipeline import atomic_io
from pipeline.errors import UserError
from pipeline.models import saved_model
from ui import texts


def found(folder: Path) -> dict[str, Path]:
    """Models of a folder and of its demo/: title -> .h5 file.

    Raises:
        UserError: there is none.
    """
    paths = {}
    for path in (*sorted(folder.glob("*.h5")), *sorted((folder / "demo").glob("*.h5"))):
        title = str(about(path).get("title") or f"{path.name}, not a model of this project")
        paths[title if title not in paths else f"{title}, {path.relative_to(folder)}"] = path
    if not paths:
        raise UserError(f"no model in {folder} or {folder / 'demo'}; run make demo first, or fix --output-dir")
    return paths


def about(model: Path) -> dict:
    """Metadata of a model's file; {} where it is no model of this project."""
    try:
        return _metadata(model, model.stat().st_mtime_ns)
    except (OSError, UserError):
        return {}


@functools.lru_cache
def _metadata(model: Path, changed: int) -> dict:
    return saved_model.metadata(model)


def accuracy(model: Path) -> float | None:
    """Accuracy on the test images as the metrics beside the model have it; None where they are another model's."""
    of_model = about(model)
    try:
        metrics = atomic_io.read_json(model.parent / f"{of_model['prefix']}_metrics.json")
        return float(metrics["test_accuracy"]) if metrics["title"] == of_model["title"] else None
    except (OSError, UserError, ArithmeticError, ValueError, KeyError, TypeError):
        return None


def names(models: dict[str, Path], language: str) -> dict[str, str]:
    """Title -> network · data set · test accuracy; models that would be called alike have their file behind it."""
    short = {title: name(title, path, language) for title, path in models.items()}
    count = Counter(short.values())
    return {title: text if count[text] == 1 else f"{text} · {models[title].name}" for title, text in short.items()}


def name(title: str, model: Path, language: str) -> str:
    """Network · data set · test accuracy of one model, without what its title has in parentheses.

    Args:
        title: what to go by where the file has none.
    """
    of_model = about(model)
    network, _, data = re.sub(r"\s*\([^)]*\)", "", of_model.get("title", title)).partition(" on ")
    known = saved_model.MODELS.get(of_model.get("prefix"))
    if known and known.file == model.name:
        network = known.network
    network = texts.term(network, language)
    parts = [network[:1].upper() + network[1:]]
    if data:
        parts.append(texts.term(data, language))
    on_test = accuracy(model)
    if on_test is not None:
        parts.append(texts.percent(on_test, language))
    return " · ".join(parts)
