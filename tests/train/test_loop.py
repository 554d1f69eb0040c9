"""Training: the rules that fit follows, and runs that repeat and resume bit for bit."""

import io
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_run import start

from pipeline.backend import keras
from pipeline.data.batches import Batches
from pipeline.errors import Interrupted, UserError
from pipeline.evaluate import metrics
from pipeline.models import contract, saved_model
from pipeline.train import checkpoint, loop, recipe
from pipeline.train.interrupt import DeferredSignals
from pipeline.train.loop import Progress


@pytest.fixture(autouse=True)
def eagerly_but_where_graphs_are_the_point(request):
    if "graph" not in request.keywords:
        request.getfixturevalue("eagerly")


def weights_after(folder, *flags, **options):
    _, model, fit = start(folder, *flags, **options)
    fit()
    return model.get_weights()


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


class Scripted:
    """A model whose validation results are given beforehand; its only weight counts the epochs."""

    weights = ()

    def __init__(self, val_loss, val_accuracy):
        self.results, self.trained, self.rates, self.layers = list(zip(val_loss, val_accuracy, strict=True)), 0, [], []
        self.optimizer = SimpleNamespace(learning_rate=None)

    def make_train_function(self, force):
        pass

    def fit(self, *_, **__):
        self.rates.append(self.optimizer.learning_rate)
        self.trained += 1
        return SimpleNamespace(history={"loss": [1.0], "accuracy": [0.5]})

    def evaluate(self, *_, **__):
        loss, accuracy = self.results[self.trained - 1]
        return {"loss": loss, "accuracy": accuracy}

    def get_weights(self):
        return [np.array(self.trained)]

    def set_weights(self, weights):
        self.trained = int(weights[0])


@pytest.fixture
def any_model(monkeypatch):
    """A stand-in need not keep the contract of models, nor have metrics to build or layers to count."""
    monkeypatch.setattr(contract, "check", lambda *_: None)
    monkeypatch.setattr(loop, "create_variables", lambda *_: None)
    monkeypatch.setattr(loop.flops, "of_epochs", lambda *_: None)


def test_fit_follows_the_plateau_rule_and_ends_with_the_weights_of_the_best_validation_loss(
    tmp_path, monkeypatch, any_model
):
    monkeypatch.setattr(checkpoint, "save", lambda *_: None)
    run, _, _ = start(tmp_path)
    model = Scripted([3.0, 2.0, 2.5, 2.5, 2.1, 2.1, 2.1, 0.0], [0.3, 0.2, 0.4, 0.4, 0.5, 0.1, 0.1, 0.9])
    bests = []
    history = loop.fit(
        run,
        model,
        run.dataset,
        epochs=8,
        augment=None,
        plateau=recipe.Plateau(1.0, 0.1, patience=2, stop_after=5),
        on_best=lambda: bests.append(model.trained),
    )
    assert model.rates == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01])
    assert [row["learning_rate"] for row in history] == pytest.approx(model.rates)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6, 7], "stopped five epochs after the second"
    assert model.trained == 2
    assert bests == [1, 3, 5], "epochs of a strictly better validation accuracy"


def test_a_resumed_run_goes_on_with_the_rate_and_the_best_epoch_of_before(tmp_path, monkeypatch, any_model):
    saved = []
    monkeypatch.setattr(checkpoint, "save", lambda path, model, record, best: saved.append((record, best)))
    monkeypatch.setattr(checkpoint, "restore", lambda *_: saved[-1])
    results = [3.0, 2.0, 2.5, 2.5, 2.1, 2.1], [0.3, 0.2, 0.4, 0.3, 0.4, 0.1]
    rule = {"augment": None, "plateau": recipe.Plateau(1.0, 0.1, patience=2, stop_after=9)}
    run, _, _ = start(tmp_path)
    loop.fit(run, Scripted(*results), run.dataset, epochs=4, **rule)
    run.lock.release()
    resumed, _, _ = start(tmp_path, "--resume")
    model, bests = Scripted(*results), []
    model.trained = 4
    loop.fit(resumed, model, run.dataset, epochs=6, on_best=lambda: bests.append(model.trained), **rule)
    assert model.rates == pytest.approx([0.1, 0.1])
    assert model.trained == 2 and bests == []


@pytest.mark.parametrize(
    ("with_plateau", "precision"), [pytest.param(False, "bfloat16", marks=pytest.mark.graph), (True, "float32")]
)
def test_an_interrupted_and_resumed_run_ends_with_the_same_weights(tmp_path, monkeypatch, with_plateau, precision):
    options = {"with_plateau": with_plateau}
    flags = ("--precision", precision)
    whole = weights_after(tmp_path / "whole", *flags, **options)
    save, saved = checkpoint.save, []

    def save_then_interrupt(*arguments):
        save(*arguments)
        saved.append(1)
        if len(saved) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save_then_interrupt)
        with pytest.raises(KeyboardInterrupt):
            weights_after(tmp_path / "cut", *flags, **options)
    run, model, fit = start(tmp_path / "cut", "--resume", *flags, **options)
    history = fit()
    assert same(whole, model.get_weights())
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert run.earlier_seconds > 0


@pytest.mark.parametrize("stopped_at", ["step 1", "step 4", "validation"])
def test_a_signal_within_an_epoch_saves_the_step_and_the_run_goes_on_to_the_same_weights(
    tmp_path, monkeypatch, stopped_at
):
    whole = weights_after(tmp_path / "whole", "--epochs", "2")
    run, _, fit = start(tmp_path / "cut", "--epochs", "2")
    hook = "on_test_batch_end" if stopped_at == "validation" else "on_train_batch_end"
    before, calls = getattr(Progress, hook), []

    def send_a_signal(self, batch, logs=None):
        calls.append(batch)
        if self.epoch == 1 and (stopped_at == "validation" or stopped_at == f"step {batch + 1}"):
            signal.raise_signal(signal.SIGTERM)
        before(self, batch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, hook, send_a_signal)
        with pytest.raises(Interrupted, match=r"epoch 2, the checkpoint is saved; go on with: .* --resume") as stop:
            fit()
    assert stop.value.code == 143 and calls
    run.lock.release()
    _, model, fit = start(tmp_path / "cut", "--resume", "--epochs", "2")
    history = fit()
    assert same(whole, model.get_weights())
    assert [row["epoch"] for row in history] == [1, 2]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    one, again, other = (
        weights_after(tmp_path / name, "--epochs", "2", "--seed", seed)
        for name, seed in (("one", "0"), ("again", "0"), ("other", "1"))
    )
    assert same(one, again)
    assert not same(one, other)


def test_validation_is_measured_on_raw_images_with_the_weights_of_the_epoch(tmp_path):
    run, model, fit = start(tmp_path, "--epochs", "1", "--label-smoothing", "0")
    row = fit(lambda images, **_: np.zeros_like(images))[0]
    probabilities = saved_model.predict(model, run.dataset.x_validation)
    assert row["val_loss"] == pytest.approx(metrics.cross_entropy(probabilities, run.dataset.y_validation), rel=1e-4)


def test_a_later_phase_draws_other_random_numbers_than_the_first_and_counts_what_came_before(tmp_path):
    def phase(name, **options):
        run, model, _ = start(tmp_path / name, "--epochs", "1")
        run.history = [{"epoch": 1, "seconds": 2.0}] if name == "later" else []
        seen = set()

        def watch(images, rng, epoch, **_):
            seen.add((epoch, rng.random()))
            return images

        rows = loop.fit(run, model, run.dataset, epochs=1, augment=watch, **options)
        return {epoch for epoch, _ in seen}, {draw for _, draw in seen}, rows[0]["seconds"]

    first, later = phase("first"), phase("later", seconds_before=1000.0)
    assert first[0] == {0} and later[0] == {1} and not first[1] & later[1]
    assert first[2] < 1000 < later[2]
    assert phase("again")[1] == first[1]


def test_a_loss_that_is_not_a_number_or_explodes_names_the_step_and_the_rate():
    progress = Progress(epoch=1, epochs=4, steps=5, begun={}, deferred=DeferredSignals())
    progress.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.05), weights=()))
    progress.on_train_batch_end(0, {"loss": 999.0, "accuracy": 0.1})
    for loss, said in ((float("nan"), "nan"), (float("inf"), "inf"), (1e4, r"1e\+04")):
        with pytest.raises(UserError, match=rf"{said} at step 3 of epoch 2, learning rate 0\.05"):
            progress.on_train_batch_end(2, {"loss": loss, "accuracy": 0.1})


def test_the_averages_of_an_interrupted_epoch_count_every_step_once():
    begun = {"step": 3, "loss": 2.0, "accuracy": 0.5, "seconds": 1.0}
    progress = Progress(epoch=0, epochs=1, steps=4, begun=begun, deferred=DeferredSignals())
    assert progress.averages({}) == {"loss": 2.0, "accuracy": 0.5}
    progress.set_model(SimpleNamespace(weights=()))
    progress.on_train_batch_end(0, {"loss": 1.0, "accuracy": 1.0})
    assert progress.averages(progress.logs) == {"loss": 1.75, "accuracy": 0.625}


def test_a_signal_while_stdout_writes_its_buffer_is_held_like_any_other(capfd):
    class Interrupting(io.RawIOBase):
        def writable(self):
            return True

        def write(self, content):
            signal.raise_signal(signal.SIGTERM)
            return len(content)

    with DeferredSignals() as held, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", io.TextIOWrapper(io.BufferedWriter(Interrupting())))
        print("an epoch's row", flush=True)
    assert held.code == 143 and "saving a checkpoint" in capfd.readouterr().out


def test_one_batch_that_is_not_a_number_stops_the_run_within_the_epoch_and_keeps_the_last_checkpoint(tmp_path):
    run, _, fit = start(tmp_path, with_plateau=True)

    def broken_from_the_second_epoch_on(images, indices, epoch, rng):
        return np.full(images.shape, np.nan) if epoch == 1 and set(indices) & late else images

    order = Batches(run.dataset.x_train, run.dataset.y_train, batch_size=32, seed=0, epoch=1, augment=None)
    late = {order.order[2 * 32]}  # an image of the third batch
    with pytest.raises(UserError, match=r"at step [34] of epoch 2, learning rate 0\.05"):
        fit(broken_from_the_second_epoch_on)
    assert checkpoint.epochs_done(run.path("checkpoint.npz")) == 1


def test_what_a_run_prints_is_one_table_row_per_epoch_and_no_more(tmp_path, capsys):
    _, _, fit = start(tmp_path, "--epochs", "2")
    capsys.readouterr()
    fit()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["epoch", "1/2", "2/2"]


def test_a_validation_loss_that_is_no_number_neither_ends_a_run_nor_hides_a_later_best(
    tmp_path, monkeypatch, any_model
):
    """One NaN counted as the best loss for ever, and the run ended while it still improved."""
    monkeypatch.setattr(checkpoint, "save", lambda *_: None)
    nan = float("nan")
    run, _, _ = start(tmp_path)
    model, bests = Scripted([3.0, nan, 2.5, 2.0, 1.5, 1.0], [0.3, nan, 0.4, 0.5, 0.6, 0.7]), []
    rule = recipe.Plateau(1.0, 0.1, patience=9, stop_after=3)
    loop.fit(run, model, run.dataset, epochs=6, augment=None, plateau=rule, on_best=lambda: bests.append(model.trained))
    assert len(run.history) == 6 and bests == [1, 3, 4, 5, 6] and model.trained == 6
    assert rule.stops([1.0, nan, nan, nan]) and not rule.stops([nan, nan, 1.0])


def test_validation_has_a_plain_cross_entropy_beside_the_smoothed_loss(tmp_path):
    run, model, fit = start(tmp_path, "--epochs", "1", "--label-smoothing", "0.3")
    row = fit()[0]
    probabilities = saved_model.predict(model, run.dataset.x_validation)
    plain = metrics.cross_entropy(probabilities, run.dataset.y_validation)
    assert row["val_cross_entropy"] == pytest.approx(plain, rel=1e-4) and abs(row["val_loss"] - plain) > 1e-5
    assert row["cross_entropy"] > 0


def test_history_has_a_row_more_after_every_epoch_and_callbacks_are_told(tmp_path):
    run, model, _ = start(tmp_path, "--epochs", "3")
    rows, epochs = [], []

    class Reader(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            path = run.path("history.csv")
            rows.append(len(path.read_text().splitlines()) - 1 if path.exists() else 0)
            epochs.append(epoch)

    loop.fit(run, model, run.dataset, epochs=3, augment=None, phase="only", callbacks=[Reader()])
    assert rows == [0, 1, 2] and epochs == [0, 1, 2]
    written = run.path("history.csv").read_text()
    assert written.count("only") == 3 and "val_cross_entropy" in written.splitlines()[0]


def test_a_resumed_run_writes_the_whole_history(tmp_path):
    run, _, fit = start(tmp_path, "--epochs", "1")
    fit()
    run.lock.release()
    resumed, model, _ = start(tmp_path, "--epochs", "1", "--resume")
    loop.fit(resumed, model, resumed.dataset, epochs=2, augment=None)
    assert [row["epoch"] for row in resumed.history] == [1, 2]
    assert len(resumed.path("history.csv").read_text().splitlines()) == 3


def test_a_value_that_is_not_finite_is_found_by_its_variables_path():
    layer = keras.layers.Dense(3, name="odd")
    layer.build((None, 2))
    check = loop.FiniteCheck([layer.bias, layer.kernel, keras.Variable(7, dtype="int32")])
    assert check.broken() is None
    layer.kernel.assign([[1, 2, 3], [4, float("inf"), 6]])
    assert check.broken() == layer.kernel.path
    assert loop.FiniteCheck([]).broken() is None


def test_a_run_for_tensorboard_leaves_scalars_and_the_confusion_matrix(tmp_path):
    pytest.importorskip("tensorboard", reason="optional: pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, model, fit = start(tmp_path, "--epochs", "2", "--tensorboard")
    fit()
    run.finish(model)
    log = EventAccumulator(str(tmp_path / "tensorboard" / "tiny"))
    log.Reload()
    tags = log.Tags()["tensors"] + log.Tags()["images"] + log.Tags()["scalars"]
    assert {"loss", "val_accuracy", "val_cross_entropy", "confusion matrix"} <= set(tags)
    assert [event.step for event in log.Tensors("val_accuracy")] == [1, 2]


def test_after_training_a_signal_finds_the_handler_that_was_there_before(tmp_path):
    seen, before = [], signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
    try:
        with DeferredSignals():
            signal.raise_signal(signal.SIGTERM)
            assert seen == []
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [1]


@pytest.mark.graph
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow traces")
def test_the_training_step_is_traced_once_and_the_metrics_begin_at_0():
    traced = []

    class Traced(recipe.SmoothedCrossEntropy):
        def call(self, y_true, y_pred):
            traced.append(y_pred.shape)
            return super().call(y_true, y_pred)

    pixels = keras.Input((4, 4, 1))
    dense = keras.layers.Dense(3, activation="softmax", kernel_regularizer="l2")
    model = keras.Model(pixels, dense(keras.layers.Flatten()(pixels)))
    recipe.compile_model(model, keras.optimizers.Adam(), Traced())
    labels = np.arange(8) % 3
    loop.create_variables(model, labels)
    assert len(traced) == 1 and model.metrics_variables
    assert not any(np.any(keras.ops.convert_to_numpy(variable)) for variable in model.metrics_variables)
    model.fit(np.zeros((8, 4, 4, 1)), labels, batch_size=4, epochs=2, verbose=0)
    assert len(traced) == 2
