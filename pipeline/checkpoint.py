"""A run's state between two epochs, complete enough to go on with the very same numbers.

Random streams come from (seed, epoch, step), the learning rate from the step or the history, so
the state is: weights, optimizer variables, and the history. One .npz, whose members carry CRC-32
sums; the state before it is kept, in case the newer one is damaged.
"""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np

from pipeline.artifacts import replacing
from pipeline.errors import BadInput


def save(path: Path, model, record: dict, best: list[np.ndarray] | None) -> None:
    """Write the state after an epoch.

    Args:
        model: compiled model whose optimizer has taken a step.
        record: plain data: "config", "history", "wall_seconds".
        best: the weights to come back to at the end, if any.
    """
    arrays = {f"weight_{i}": value for i, value in enumerate(model.get_weights())}
    arrays |= {f"optimizer_{i}": np.asarray(value) for i, value in enumerate(model.optimizer.variables)}
    arrays |= {f"best_{i}": value for i, value in enumerate(best or [])}
    with replacing(path) as temporary:
        with open(temporary, "wb") as file:
            np.savez(file, record=np.array(json.dumps(record)), **arrays)
        if path.exists():
            path.replace(previous(path))


def previous(path: Path) -> Path:
    """Name of the state before the last one."""
    return path.with_suffix(".previous.npz")


def remove(path: Path) -> None:
    """Delete the state of a finished run."""
    path.unlink(missing_ok=True)
    previous(path).unlink(missing_ok=True)


def read(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of the newest whole state, None where there is none at all.

    Raises:
        BadInput: there are states, but none is whole.
    """
    candidates = [candidate for candidate in (path, previous(path)) if candidate.exists()]
    for candidate in candidates:
        try:
            with np.load(candidate, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            json.loads(str(arrays["record"]))
            return arrays
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            print(f"warning: {candidate} is damaged; trying the state before it", file=sys.stderr)
    if candidates:
        raise BadInput(f"{path} is damaged and so is the state before it; run again without --resume")
    return None


def epochs_done(path: Path) -> int:
    """Epochs in the newest whole state, 0 where there is none at all."""
    arrays = read(path)
    return len(json.loads(str(arrays["record"]))["history"]) if arrays else 0


def restore(path: Path, model, config: dict) -> tuple[dict, list[np.ndarray] | None] | None:
    """Put a saved state back into a freshly compiled model.

    Returns:
        (record, best weights), or None where there is nothing to resume.
    Raises:
        BadInput: the state belongs to another config (the difference is named), or no state is whole.
    """
    arrays = read(path)
    if arrays is None:
        return None
    record = json.loads(str(arrays["record"]))
    refuse_difference(record["config"], config, path)
    model.optimizer.build(model.trainable_variables)
    model.set_weights(_numbered(arrays, "weight"))
    for variable, value in zip(model.optimizer.variables, _numbered(arrays, "optimizer"), strict=True):
        variable.assign(value)
    return record, _numbered(arrays, "best") or None


def refuse_difference(then: dict, now: dict, path: Path) -> None:
    """Raise BadInput naming what changed between a stored config and this one."""
    changed = [name for name in sorted({**then, **now}) if then.get(name) != now.get(name)]
    if changed:
        listed = ", ".join(f"{name} was {then.get(name)!r} and is {now.get(name)!r}" for name in changed)
        raise BadInput(f"{path} belongs to another run: {listed}; use its settings or leave out --resume")


def _numbered(arrays: dict, kind: str) -> list[np.ndarray]:
    return [arrays[f"{kind}_{i}"] for i in range(sum(name.startswith(kind + "_") for name in arrays))]
