"""A training run: its folder, its settings, its clock, its history, and everything it leaves behind."""

import contextlib
import os
import sys
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
from pipeline.evaluate import evaluation
from pipeline.models import novelty, probabilities, saved_model
from pipeline.train import checkpoint, identity, meeting
from pipeline.train.hosts import join
from pipeline.train.tensorboard import TensorBoardLog

SCHEMA = 1  # of metrics.json
# What a run writes beside its models.
FILES = ("history.csv", "classification_report.csv", "training_curves.png", "confusion_matrix.png", "examples.png")
FILES += ("network.png", "metrics.json", "*checkpoint.npz")


class Run:
    """A training run, from the script's first line to its last.

    Meets the other hosts if there are any, and sets Keras' precision, seeds, determinism and devices, so it comes
    before the model.

    Args:
        prefix: of every file it writes ("cifar100", "custom_cnn", "resnet50").
        model_file: name of the finished model's file.
        model_name: in plots ("Custom CNN").
        config: the script's Config.
        dataset: what it trains on.
        files: further input files that shape the result, name -> SHA-256.
    Raises:
        UserError: the folder cannot be written to or is in use, the run would write over the model that it starts
            from, or --devices or --deterministic cannot be had.
    """

    def __init__(self, prefix: str, model_file: str, model_name: str, config, dataset, files: dict | None = None):
        self.prefix, self.config, self.dataset = prefix, config, dataset
        self.hosts = join(meeting.of(config, os.environ))
        self.folder = identity.output_folder(config, prefix)
        if self.hosts.scratch:
            self.folder = Path(self.hosts.scratch.name)
        self.model_path = self.folder / model_file
        self.best_path = self.folder / f"best_{model_file}"
        with self.hosts.all_there():
            self._refuse_overwriting_the_start()
            self._take_folder()
            with self.holding_folder():
                self._start(files or {}, model_name)

    def _start(self, files: dict, model_name: str) -> None:
        """Set up Keras, and say what is run on what."""
        config, dataset = self.config, self.dataset
        self.precision = backend.use_precision(config.precision)
        keras.utils.set_random_seed(config.seed)
        backend.use_determinism(config.deterministic)
        devices = "all" if self.hosts.number > 1 else config.devices
        self.n_devices = backend.use_devices(devices, min(config.batch_size, len(dataset.x_train)))
        self.settings = identity.recorded(config) | {"precision": self.precision}
        self.files = files
        self.commit = backend.commit()  # now: the code may have moved on by the end of a long run
        self.earlier_seconds = 0.0  # of the interrupted runs that this one continues
        few = f", {len(dataset.y_train):,} training images" if config.limit or config.dry_run else ""
        self.name = f"{model_name} on {dataset.title}{few}"
        self.history: list[dict] = []  # a row per epoch, of all phases
        self.operations: float | None = 0.0  # of the training so far; None: not counted
        self.from_scratch = True  # until a checkpoint of an earlier run is restored, or a first one saved
        self.board = TensorBoardLog(self.folder, self.prefix) if config.tensorboard else None
        machine = backend.describe()
        print(f"{self.name} (recipe {identity.label(config)}, seed {config.seed})")
        counts = (f"{len(y):,}" for y in (dataset.y_train, dataset.y_validation, dataset.y_test))
        print("{} training, {} validation, {} test images".format(*counts))
        print(f"{self.precision}, {machine['processor']}, {machine['cores']} cores, GPU: {machine['accelerator']}")
        print(f"writing to {self.folder}/", flush=True)

    @contextlib.contextmanager
    def holding_folder(self):
        """A block after whose failure the folder is unlocked: in a notebook the process lives on."""
        try:
            yield
        except BaseException:
            self.lock.release()
            raise

    def _refuse_overwriting_the_start(self) -> None:
        """Raise UserError if this run would write over the model that it starts from."""
        start = self.config.start_from
        if start and Path(start).resolve() in (self.model_path.resolve(), self.best_path.resolve()):
            raise UserError(f"the run would overwrite {start}, which it starts from; choose another --output-dir")

    def _take_folder(self) -> None:
        """Make the folder, lock it, and remove what a run that was killed while it wrote has left."""
        written = (*(f"{self.prefix}_{file}" for file in FILES), self.model_path.name, self.best_path.name)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.lock = atomic_io.lock(self.folder / f".{self.prefix}_run.lock")
            for name in written:
                for left in self.folder.glob(f".{name}.*"):
                    left.unlink()
            tempfile.TemporaryFile(dir=self.folder).close()
        except OSError as error:
            raise UserError(f"cannot write to {self.folder} ({error.strerror}); choose another --output-dir") from error

    @property
    def identity(self) -> dict:
        """What a checkpoint must have in common with this run: settings, data, further files and backend."""
        data = {"data_sha256": self.dataset.sha256, "files": self.files}
        return self.settings | data | {"backend": keras.backend.backend()}

    @property
    def title(self) -> str:
        """What a plot was made on: model, data, recipe, epochs so far, seed."""
        epochs = "1 epoch" if len(self.history) == 1 else f"{len(self.history)} epochs"
        return f"{self.name} (recipe {identity.label(self.config)}, {epochs}, seed {self.config.seed})"

    def path(self, name: str) -> Path:
        """A file of this run: its folder, its prefix, the name."""
        return self.folder / f"{self.prefix}_{name}"

    def wall_seconds(self) -> float:
        """Seconds since the command line was read, with those of the interrupted runs before it."""
        return self.earlier_seconds + time.monotonic() - self.config.started

    def add_epoch(self, row: dict) -> None:
        """Append an epoch to the history, and to history.csv."""
        self.history.append(row)
        atomic_io.write_csv(self.path("history.csv"), pd.DataFrame(self.history))
        if self.board:
            self.board.scalars(row, len(self.history))

    def add_operations(self, operations: float | None) -> None:
        """Count the floating-point operations of a phase; None where its layers have no rule for that."""
        known = self.operations is not None and operations is not None
        self.operations = self.operations + operations if known else None

    def already_finished(self) -> bool:
        """Whether this very run is finished already, so that there is nothing to do.

        That is so with --resume, and in a folder that was named by the settings alone; in one that was named by
        --output-dir, and in output/, a run without --resume is trained again.

        Raises:
            UserError: the folder holds a run, finished or interrupted, with another config, and --resume was given
                or the folder was named by the settings alone, so that nobody meant to replace that run.
        """
        with self.holding_folder(), self.hosts.all_there():
            finished = self._finished() if self.hosts.first else None
            finished = self._agreed(finished)
        if finished:
            self.lock.release()
            again = "" if self.config.resume else "; to train it again, choose another --output-dir"
            print(f"this run is finished: {self.path('metrics.json')}{again}")
        return finished

    def _finished(self) -> bool:
        path, resume = self.path("metrics.json"), self.config.resume
        chosen_by_settings = not self.config.output_dir and self.folder.parent.name == "runs"
        checkpoints = self.checkpoints()
        if resume or chosen_by_settings:
            for file in checkpoints:
                checkpoint.refuse_loss(file, self.identity)
        whole = path.exists() and self.model_path.exists()  # a clone has the metrics of models too large for it
        if checkpoints or not whole or not (resume or chosen_by_settings):
            return False
        found = atomic_io.read_json(path)
        checkpoint.refuse_difference(_identity_of(found, self.identity), self.identity, path)
        lacks_tta = getattr(self.config, "tta", False) and "tta" not in found
        if resume and lacks_tta:
            raise UserError(f"{path} is of a run that finished without --tta; run it again without --resume")
        return not lacks_tta

    def _agreed(self, finished: bool | None) -> bool:
        """What the first host found, on every host, with its checkpoints; UserError where the settings differ."""
        files = []
        if self.config.resume:
            files = sorted(self.folder.glob(f"{self.prefix}_*checkpoint*.npz"))
        found = self.hosts.share({"finished": finished, "identity": self.identity}, files, self.folder)
        changed = identity.differences(found["identity"], self.identity)
        odd = self.hosts.who(bool(changed))  # all end together: one that waited for another would end in a crash of JAX
        if changed:
            listed = ", ".join(f"{name} {how}" for name, how in changed.items())
            raise UserError(f"host {self.hosts.index} was started with other settings than the first: {listed}")
        if odd:
            raise UserError(f"host {odd[0]} was started with other settings than this one, and says which")
        return found["finished"]

    def checkpoints(self) -> set[Path]:
        """The checkpoints of all phases; of one that was cut off while it was written, only the one before is there."""
        found = self.folder.glob(f"{self.prefix}_*checkpoint*.npz")
        return {file.with_name(file.name.replace(".previous.npz", ".npz")) for file in found}

    def keep_only(self, file: Path) -> None:
        """Delete the checkpoints of an earlier run's phases once this run, begun from scratch, has saved its first."""
        if self.from_scratch:
            for other in self.checkpoints() - {file}:
                checkpoint.remove(other)
        self.from_scratch = False

    def save(self, model, path: Path | None = None) -> None:
        """Save a model by the contract of pipeline.models, by default as the finished one."""
        saved_model.save(
            model,
            path or self.model_path,
            image_shape=self.dataset.image_shape,
            prefix=self.prefix,
            dataset=self.dataset.name,
            data_sha256=self.dataset.sha256,
            digits=self.dataset.digits,
            recipe=self.config.recipe,
            seed=self.config.seed,
            validation=self.config.validation,
            class_names=list(self.dataset.class_names),
            title=self.title,
        )

    def save_best(self, model) -> None:
        """Save a model as the one of the best validation accuracy so far; of several hosts the first one does it."""
        if self.hosts.first:
            with backend.without_distribution():  # as in finish(): the others may have seen no better accuracy
                self.save(model, self.best_path)

    def finish(self, model, tta: dict | None = None, **extra) -> dict:
        """Save the model, read the test set once with the saved file, write every result, and unlock the folder.

        metrics.json comes last, and the checkpoints go then: with them there, a metrics.json is an earlier run's. Of
        several hosts the first one does it, and the others return an empty dict.

        Args:
            model: the trained model.
            tta: test-time augmentations to choose from, reported beside the single pass; see evaluation.choose_tta.
            extra: further plain entries of metrics.json.
        """
        # A variable made while devices are shared would wait for the other hosts, who do not come here.
        with self.holding_folder(), backend.without_distribution():
            result = self._finish(model, tta, extra) if self.hosts.first else {}
        self.lock.release()
        return result

    def _finish(self, model, tta: dict | None, extra: dict) -> dict:
        self.save(model)
        novelty.add(self.model_path, self.dataset)
        saved = saved_model.open_model(self.model_path)
        dataset, model = self.dataset, saved.model
        test = probabilities.on_test_images(saved, dataset)
        metrics = evaluation.measure(model, dataset, test)
        matrix = np.array(metrics["confusion_matrix"])
        doubt = evaluation.doubt(metrics, len(dataset.y_validation), len(dataset.y_test))
        if doubt:
            print(f"warning: {doubt}", file=sys.stderr, flush=True)
        by_class = evaluation.by_class(matrix, dataset.class_names)
        atomic_io.write_csv(self.path("classification_report.csv"), by_class)
        from pipeline.evaluate import plots  # here: Matplotlib's import would delay the first epoch
        from pipeline.models import network_plot

        curves = self.path("training_curves.png")
        accuracy, milestones, learned = metrics["test_accuracy"], self.config.milestones, self.config.learned_classes
        scaled = "temperature" in extra
        plots.training_curves(self.history, accuracy, milestones, self.title, curves, learned, scaled)
        confusion = self.path("confusion_matrix.png")
        evaluation.draw(dataset, test, matrix, self.title, confusion, self.path("examples.png"))
        network_plot.draw(model, self.title, self.path("network.png"))
        if self.board:
            self.board.plot("confusion matrix", confusion, len(self.history))
        result = self._record(model) | metrics | extra
        result["wall_seconds"] = round(self.wall_seconds(), 1)  # without test-time augmentation, which comes on top
        if tta:
            result["tta"] = evaluation.choose_tta(model, dataset, tta)
            result["tta"]["seconds"] = round(self.wall_seconds() - result["wall_seconds"], 1)
        atomic_io.write_json(self.path("metrics.json"), result)
        for file in self.checkpoints():
            checkpoint.remove(file)
        print(
            f"test accuracy {result['test_accuracy']:.4f}, loss {result['test_loss']:.4f}, "
            f"macro F1 {result['macro_f1']:.4f}, {result['parameters']:,} parameters, "
            f"{clock(result['wall_seconds'])} in all"
        )
        if tta:
            more = f"{result['tta']['test_accuracy']:.4f}, {clock(result['tta']['seconds'])} more"
            print(f"with test-time augmentation ({result['tta']['chosen']}): {more}")
        return result

    def _record(self, model) -> dict:
        """The entries of metrics.json that say what was run, on what and when."""
        dataset = self.dataset
        return {
            "schema": SCHEMA,
            "title": self.title,
            "dataset": dataset.name,
            "recipe": self.config.recipe,
            "seed": self.config.seed,
            "config": self.settings,
            "files": dataset.sources | self.files,
            "data_sha256": dataset.sha256,
            "data_notes": dataset.notes,
            "image_shape": list(dataset.image_shape),
            "n_train": len(dataset.y_train),
            "n_validation": len(dataset.y_validation),
            "n_test": len(dataset.y_test),
            "parameters": model.count_params(),
            "epochs": len(self.history),
            "training_flops": self.operations,
            "training_seconds": round(sum(row["seconds"] for row in self.history), 1),
            "hardware": backend.describe() | {"devices": self.n_devices, "deterministic": self.config.deterministic},
            "versions": backend.versions(),
            "commit": self.commit,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def _identity_of(metrics: dict, own: dict) -> dict:
    """The Run.identity of a finished run; of its files those that are compared are not those of the data set."""
    files = {name: digest for name, digest in metrics.get("files", {}).items() if name in own["files"]}
    data = {"data_sha256": metrics.get("data_sha256"), "files": files}
    return metrics.get("config", {}) | data | {"backend": metrics.get("versions", {}).get("backend")}
