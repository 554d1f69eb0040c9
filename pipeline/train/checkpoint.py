"""Checkpoints of a run: what it takes to go on between two steps with the very same numbers.

Random streams come from (seed, epoch, step), the learning rate from the step or the history, so
a checkpoint is: weights, optimizer variables (averages and the step among them), the random layers'
seeds, the history, and the step within an epoch that was cut short. One .npz with its SHA-256 after
it; the checkpoint before it is kept, in case the newer one is damaged.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from pipeline.atomic_io import rename, replacing
from pipeline.errors import UserError
from pipeline.train import identity


def save(path: Path, model, record: dict, best: list[np.ndarray] | None) -> None:
    """Write the checkpoint after an epoch, or within one.

    Args:
        model: compiled model whose optimizer has taken a step.
        record: plain data: "config", "history", "wall_seconds", and "begun" within an epoch.
        best: the weights to come back to at the end, if any.
    """
    arrays = {f"weight_{i}": value for i, value in enumerate(model.get_weights())}
    arrays |= {f"optimizer_{i}": np.asarray(value) for i, value in enumerate(model.optimizer.variables)}
    arrays |= {f"random_{i}": np.asarray(state) for i, state in enumerate(_random_states(model))}
    arrays |= {f"best_{i}": value for i, value in enumerate(best or [])}
    with replacing(path) as temporary:
        with open(temporary, "wb") as file:
            np.savez(file, record=np.array(json.dumps(record)), **arrays)
        with open(temporary, "rb+") as file:
            file.write(hashlib.file_digest(file, "sha256").digest())
        if path.exists():
            rename(path, previous(path))


def previous(path: Path) -> Path:
    """Name of the checkpoint before the last one."""
    return path.with_suffix(".previous.npz")


def remove(path: Path) -> None:
    """Delete the checkpoint of a finished run."""
    path.unlink(missing_ok=True)
    previous(path).unlink(missing_ok=True)


def read(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of the newest whole checkpoint, None where there is none at all.

    Raises:
        UserError: there are checkpoints, but none is whole.
    """
    candidates = [candidate for candidate in (path, previous(path)) if candidate.exists()]
    for candidate in candidates:
        if _is_whole(candidate):
            with np.load(candidate, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        print(f"warning: {candidate} is damaged; trying the checkpoint before it", file=sys.stderr)
    if candidates:
        raise UserError(f"{path} is damaged and so is the checkpoint before it; run again without --resume")
    return None


def _is_whole(path: Path) -> bool:
    """Whether the checksum at the end of a checkpoint is that of what stands before it."""
    content = path.read_bytes()
    return len(content) > 32 and hashlib.sha256(memoryview(content)[:-32]).digest() == content[-32:]


def epochs_done(path: Path) -> int:
    """Epochs in the newest whole checkpoint, 0 where there is none at all."""
    arrays = read(path)
    return len(json.loads(str(arrays["record"]))["history"]) if arrays else 0


def restore(path: Path, model, config: dict) -> tuple[dict, list[np.ndarray] | None] | None:
    """Put a saved checkpoint back into a freshly compiled model.

    Args:
        config: this run's settings.
    Returns:
        (record, best weights), or None where there is nothing to resume.
    Raises:
        UserError: the checkpoint belongs to another config (the difference is named), or no checkpoint is whole.
    """
    arrays = read(path)
    if arrays is None:
        return None
    record = json.loads(str(arrays["record"]))
    refuse_difference(record["config"], config, path)
    model.optimizer.build(model.trainable_variables)
    try:
        model.set_weights(_numbered(arrays, "weight"))
        for variable, value in zip(model.optimizer.variables, _numbered(arrays, "optimizer"), strict=True):
            variable.assign(value)
        for state, value in zip(_random_states(model), _numbered(arrays, "random"), strict=True):
            state.assign(value)
    except ValueError as error:
        raise UserError(f"{path} is of another network than this code's; run again without --resume") from error
    return record, _numbered(arrays, "best") or None


def refuse_loss(path: Path, config: dict) -> None:
    """Raise UserError if a checkpoint of another config is there, that a run from scratch would overwrite."""
    try:
        arrays = read(path)
    except UserError:
        return  # damaged, so nothing is lost with it
    if arrays:
        refuse_difference(json.loads(str(arrays["record"]))["config"], config, path)


def refuse_difference(then: dict, now: dict, path: Path) -> None:
    """Raise UserError naming what changed between a stored config and this one; see identity.differences."""
    changed = identity.differences(then, now)
    if not changed:
        return
    remedy = "use its settings or another --output-dir"
    if list(changed) == ["epochs"] and now["epochs"] > then.get("epochs", now["epochs"]):
        remedy = (
            f"its learning rate follows a schedule of {then['epochs']} epochs, which cannot be made longer; train its "
            "finished model further with --start-from MODEL.h5 and another --output-dir"
        )
    listed = ", ".join(f"{name} {how}" for name, how in changed.items())
    raise UserError(f"{path} belongs to another run: {listed}; {remedy}")


def _random_states(model) -> list:
    """The variables that dropout and its like draw from."""
    return [layer.seed_generator.state for layer in model.layers if hasattr(layer, "seed_generator")]


def _numbered(arrays: dict, kind: str) -> list[np.ndarray]:
    return [arrays[f"{kind}_{i}"] for i in range(sum(name.startswith(kind + "_") for name in arrays))]
