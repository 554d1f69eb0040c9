"""One training run: its folder, its settings, its clock, and everything it leaves behind."""

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import atomic_io, backend
from pipeline.backend import keras
from pipeline.console import clock
from pipeline.errors import UserError
from pipeline.evaluate import evaluation, plots
from pipeline.models import saved_model
from pipeline.train import checkpoint, identity

# What a run writes beside its models; its states are those of training.fit.
FILES = ("history.csv", "classification_report.csv", "training_curves.png", "confusion_matrix.png", "examples.png")
FILES += ("metrics.json", "*checkpoint.npz")


class Run:
    """What a training script holds on to from its first line to its last.

    Sets Keras' precision, seeds, determinism and devices, so it comes before the model.

    Args:
        prefix: of every file it writes ("cifar100", "custom_cnn", "resnet50").
        model_file: name of the finished model's file.
        model_name: in figures ("Custom CNN").
        config: the script's Config.
        dataset: what it trains on.
        files: further input files that shape the result, name -> SHA-256.
    Raises:
        UserError: the folder cannot be written to or is in use, or --devices or --deterministic cannot be had.
    """

    def __init__(self, prefix: str, model_file: str, model_name: str, config, dataset, files: dict | None = None):
        self.prefix, self.config, self.dataset = prefix, config, dataset
        self.folder = identity.output_folder(config, prefix)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.lock = atomic_io.lock(self.path("run.lock"))
            for name in (*(f"{prefix}_{file}" for file in FILES), model_file, f"best_{model_file}"):
                for left in self.folder.glob(f".{name}.*"):  # by a run that was killed while it wrote
                    left.unlink()
            tempfile.TemporaryFile(dir=self.folder).close()
        except OSError as error:
            raise UserError(f"cannot write to {self.folder} ({error.strerror}); choose another --output-dir") from error
        self.model_path = self.folder / model_file
        self.precision = backend.use_precision(config.precision)
        keras.utils.set_random_seed(config.seed)
        backend.use_determinism(config.deterministic)
        self.n_devices = backend.use_devices(config.devices, min(config.batch_size, len(dataset.x_train)))
        self.settings = identity.recorded(config) | {
            "precision": self.precision,
            "files": dataset.files | (files or {}),
        }
        self.settings["backend"] = keras.backend.backend()
        self.commit = backend.commit()  # now: the code may have moved on by the end of a long run
        self.earlier_seconds = 0.0  # of the interrupted runs that this one continues
        few = f", {len(dataset.y_train):,} training images" if config.limit or config.dry_run else ""
        self.name = f"{model_name} on {dataset.title}{few}"
        self.epochs = 0  # finished so far
        self.begun_anew = True  # until a state of an earlier run is restored, or a first one saved
        machine = backend.describe()
        print(f"{self.name} (recipe {identity.label(config)}, seed {config.seed})")
        counts = (f"{len(y):,}" for y in (dataset.y_train, dataset.y_validation, dataset.y_test))
        print("{} training, {} validation, {} test images".format(*counts))
        print(f"{self.precision}, {machine['processor']}, {machine['cores']} cores, GPU: {machine['accelerator']}")
        print(f"writing to {self.folder}/", flush=True)

    @property
    def title(self) -> str:
        """What a figure was made on: model, data, recipe, epochs so far, seed."""
        epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
        return f"{self.name} (recipe {identity.label(self.config)}, {epochs}, seed {self.config.seed})"

    def path(self, name: str) -> Path:
        """A file of this run: its folder, its prefix, the name."""
        return self.folder / f"{self.prefix}_{name}"

    def wall_seconds(self) -> float:
        """Seconds since the process started, with those of the interrupted runs before it."""
        return self.earlier_seconds + time.monotonic() - self.config.started

    def already_finished(self) -> bool:
        """Whether --resume finds this very run finished, so that there is nothing to do.

        Raises:
            UserError: the folder holds a run, finished or interrupted, with another config, and --resume was given
                or the folder was named by recipe and seed alone, so that nobody meant to replace that run.
        """
        path, resume = self.path("metrics.json"), self.config.resume
        whole = path.exists() and self.model_path.exists()  # a clone has the figures of models too large for it
        named = not self.config.output_dir and self.folder.parent.name == "runs"
        states = self.states()
        try:
            for state in states if named or resume else ():
                checkpoint.refuse_loss(state, self.settings)
            if states or not whole or not (resume or named):
                return False
            found = atomic_io.read_json(path)
            checkpoint.refuse_difference(found.get("config", {}), self.settings, path)
            if resume and getattr(self.config, "tta", False) and "tta" not in found:
                raise UserError(f"{path} is of a run that finished without --tta; run it anew without --resume")
        except UserError:
            self.lock.release()
            raise
        if resume:
            self.lock.release()
            print(f"this run is finished: {path}")
        return resume

    def states(self) -> set[Path]:
        """The states of all phases; of one that was cut off while it was written, only the one before is there."""
        found = self.folder.glob(f"{self.prefix}_*checkpoint*.npz")
        return {file.with_name(file.name.replace(".previous.npz", ".npz")) for file in found}

    def keep_only(self, state: Path) -> None:
        """Delete the states of an earlier run's phases once this run, begun anew, has saved its first one."""
        if self.begun_anew:
            for other in self.states() - {state}:
                checkpoint.remove(other)
        self.begun_anew = False

    def save(self, model, path: Path | None = None) -> None:
        """Save a model by the contract of pipeline.models.saved_model, by default as the finished one."""
        saved_model.save(
            model,
            path or self.model_path,
            image_shape=self.dataset.image_shape,
            prefix=self.prefix,
            dataset=self.dataset.name,
            recipe=self.config.recipe,
            seed=self.config.seed,
            class_names=list(self.dataset.class_names),
            title=self.title,
        )

    def finish(self, model, history: list[dict], views: dict | None = None, **extra) -> dict:
        """Save the model, read the test set once with the saved file, write every result.

        metrics.json comes last, and the states go then: with them there, a metrics.json is an earlier run's.

        Args:
            model: the trained model.
            history: one dict per epoch.
            views: test-time augmentations to choose from, reported beside the single pass; see tta.measure.
            extra: further plain entries of metrics.json.
        """
        self.epochs = len(history)  # of all phases
        with backend.without_distribution():
            self.save(model)
            saved = saved_model.load(self.model_path)
        dataset = self.dataset
        figures, probabilities = evaluation.measure(saved, dataset)
        matrix = np.array(figures["confusion_matrix"])
        result = {
            "title": self.title,
            "dataset": dataset.name,
            "recipe": self.config.recipe,
            "seed": self.config.seed,
            "config": self.settings,
            "n_train": len(dataset.y_train),
            "n_validation": len(dataset.y_validation),
            "n_test": len(dataset.y_test),
            "parameters": saved.count_params(),
            "epochs": len(history),
            "training_seconds": round(sum(row["seconds"] for row in history), 1),
            **figures,
            "hardware": backend.describe() | {"devices": self.n_devices, "deterministic": self.config.deterministic},
            "versions": backend.versions(),
            "commit": self.commit,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            **extra,
        }
        atomic_io.write_csv(self.path("history.csv"), pd.DataFrame(history))
        by_class = evaluation.by_class(matrix, dataset.class_names)
        atomic_io.write_csv(self.path("classification_report.csv"), by_class)
        plots.training_curves(history, self.title, self.path("training_curves.png"))
        pictures = (self.path("confusion_matrix.png"), self.path("examples.png"))
        evaluation.draw(dataset, probabilities, matrix, self.title, *pictures)
        result["wall_seconds"] = round(self.wall_seconds(), 1)  # without test-time augmentation, which comes on top
        if views:
            result["tta"] = evaluation.choose_tta(saved, dataset, views)
            result["tta"]["seconds"] = round(self.wall_seconds() - result["wall_seconds"], 1)
        atomic_io.write_json(self.path("metrics.json"), result)
        for state in self.states():
            checkpoint.remove(state)
        self.lock.release()
        print(
            f"test accuracy {result['test_accuracy']:.4f}, loss {result['test_loss']:.4f}, "
            f"macro F1 {result['macro_f1']:.4f}, {result['parameters']:,} parameters, "
            f"{clock(result['wall_seconds'])} in all"
        )
        if views:
            more = f"{result['tta']['test_accuracy']:.4f}, {clock(result['tta']['seconds'])} more"
            print(f"with test-time augmentation ({result['tta']['chosen']}): {more}")
        return result
