"""Model cards: the input contract, figures from the result files alone, and what an absent file leaves out."""

import json
import math

import numpy as np
import pytest
from conftest import PROJECT

from pipeline.models.saved_model import MODELS
from pipeline.report import __main__ as report
from pipeline.report import cards

CLASSES = {"cifar100": [f"kind {k}" for k in range(20)], "mnist": list("0123456789")}
OF = {"cifar100": "cifar100", "cifar100-best": "cifar100", "custom_cnn": "mnist", "resnet50": "mnist"}
TITLE = "Some network on some data (seed 0)"
SHARED = "model_comparison.json"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """output/ of a working folder that has nothing else."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "output").mkdir()
    return tmp_path / "output"


def write(folder, name, content):
    (folder / name).write_text(json.dumps({"schema": 1} | content), encoding="utf-8")


def confusion(prefix):
    """Each class has 50 test images."""
    n = len(CLASSES[OF[prefix]])
    matrix = np.diag(range(50 - n, 50)) + np.diag(range(n, 1, -1), 1)
    matrix[-1, 0] = 1
    return matrix


def results(folder, prefix, **changed):
    """What a run leaves, with figures that nobody would measure."""
    names, matrix = CLASSES[OF[prefix]], confusion(prefix)
    run = {"title": TITLE, "dataset": OF[prefix], "recipe": "some", "seed": 0, "epochs": 7, "commit": "abc123"}
    run |= {"n_train": 1234, "n_validation": 56, "n_test": 50 * len(names), "parameters": 98765, "class_names": names}
    run |= {"test_accuracy": matrix.trace() / (50 * len(names)), "test_loss": 0.54321, "macro_f1": 0.87654}
    run |= {"config": {"recipe": "some", "precision": "float32"}, "files": {"some.npz": "feed"}}
    run |= {"hardware": {"processor": "Abacus", "cores": 3, "accelerator": "none", "bfloat16": False}}
    run |= {"training_seconds": 65.0, "confusion_matrix": matrix.tolist()}
    write(folder, f"{prefix}_metrics.json", run | changed)


def beside(folder, prefix, title=TITLE, more_wrong=0):
    """The other result files: seeds, errors, comparison."""
    matrix = confusion(prefix)
    right = int(matrix.trace()) - more_wrong
    spread = {"mean": 0.71234, "std": 0.00321, "n": 3}
    other = {"recipe": "some", "settings": {"labels": "fine"}, "config": {"recipe": "some", "labels": "fine"}}
    other["test_accuracy"] = {"mean": 0.99999, "std": 0.1, "n": 4}
    own = {"recipe": "some", "settings": {}, "config": {"recipe": "some"}, "test_accuracy": spread}
    write(folder, f"{prefix.removesuffix('-best')}_results.json", {"results": [other, own]})
    pairs = [{"classes": ["this", "that"], "taken_for_each_other": 9}]
    errors = {"title": title, "expected_calibration_error": 0.04321, "mean_confidence": 0.81818}
    errors["wrong"] = int(matrix.sum()) - right
    write(folder, f"{prefix}_errors.json", errors | {"confused_pairs": pairs})
    timed = {"runtime": "Some Runtime", "file": "some.onnx", "file_megabytes": 7.77, "test_accuracy": 0.66666}
    keras = timed | {"runtime": "Keras predict", "file": "some.h5", "test_accuracy": right / int(matrix.sum())}
    timed["batches"] = keras["batches"] = {"1": {"median_ms": 4.4444}, "256": {"images_per_second": 4321.0}}
    entry = {"title": title, "file": MODELS[prefix].file, "runtimes": [keras, timed]}
    write(folder, SHARED, {"models": [entry], "hardware": {"processor": "Slide rule"}, "threads": 4})


def card_of(prefix):
    (text,) = [text for path, text in cards.cards().items() if path.name == f"{prefix}_model_card.md"]
    return text


def section(card, name):
    return card.split(f"## {name}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("prefix", MODELS)
def test_each_card_names_what_goes_in_and_what_comes_out(folder, prefix, digits, synthetic):
    results(folder, prefix)
    goes_in, comes_out, *_ = section(card_of(prefix), "Input and output").strip().split("\n- ")
    like = {"mnist": digits, "cifar100": synthetic}[OF[prefix]]  # the embedded data have the layout of the real ones
    assert f"shape `(n, {', '.join(map(str, like.image_shape))})`" in goes_in
    assert "`float32`" in goes_in and "[0, 255]" in goes_in and "raw" in goes_in
    names = CLASSES[OF[prefix]]
    assert "`float32`" in comes_out and "probabilities" in comes_out and f"`(n, {len(names)})`" in comes_out
    in_order = names if OF[prefix] == "mnist" else [f"{k} {name}" for k, name in enumerate(names)]
    assert f"in this order: {', '.join(in_order)}." in comes_out


@pytest.mark.parametrize("prefix", MODELS)
def test_a_card_has_every_section_and_no_placeholder(folder, prefix):
    results(folder, prefix)
    beside(folder, prefix)
    card = card_of(prefix)
    heads = ["The model", "Intended use", "Input and output", "Data", "Metrics", "Limits"]
    assert [line.removeprefix("## ") for line in card.splitlines() if line.startswith("## ")] == heads
    assert all(len(section(card, head).strip()) > 100 for head in heads)
    assert "over 3 seeds" in card and "expected calibration error 0.043" in card and "some.onnx" in card
    assert "{" not in card and "None" not in card and MODELS[prefix].file in section(card, "The model")


def test_numbers_are_those_of_the_result_files(folder):
    tta = {"tta": {"chosen": "flip", "test_accuracy": 0.93939}, "temperature": 0.58585}
    results(folder, "cifar100", weights={"loaded": ["a", "b"], "fresh": ["c"], "file": "start.h5"}, **tta)
    beside(folder, "cifar100")
    card = card_of("cifar100")
    model, metrics = section(card, "The model"), section(card, "Metrics")
    right, n = sum(range(30, 50)), 1000
    accuracy, z = right / n, 1.959964
    middle, half = accuracy + z**2 / (2 * n), z * math.sqrt(accuracy * (1 - accuracy) / n + (z / (2 * n)) ** 2)
    low, high = ((middle + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    assert (
        f"{accuracy:.4f} (95 % interval {low:.4f} to {high:.4f}), cross-entropy 0.5432 nats, macro F1 0.8765" in metrics
    )
    assert "kind 0 (60.0%), kind 1 (62.0%), kind 2 (64.0%); highest: kind 19 (98.0%), kind 18" in metrics
    assert "(flip; not part of the file): 0.9394" in metrics
    assert "over 3 seeds, mean ± sample standard deviation: 0.7123 ± 0.0032" in metrics
    assert "One run" not in metrics
    assert "this and that" in metrics and "0.818, expected calibration error 0.043" in metrics
    assert "Speed, medians on Slide rule, threads: 4:\n  - `some.h5` in Keras predict: one image in 4.44 ms" in metrics
    assert "\n  - `some.onnx` in Some Runtime: one image in 4.44 ms" in metrics
    assert "4,321 images/s; 7.8 MB, test accuracy 0.6667" in metrics
    assert "98,765 parameters" in model and "1:05 (float32; Abacus, cores: 3" in model and "0.586" in model
    assert "2 of 3 layers from `start.h5`" in model
    assert "1,234 training, 56 validation and 1,000 test images" in section(card, "Data") and "`feed`" in section(
        card, "Data"
    )


def test_what_was_not_measured_or_is_of_another_model_is_left_out(folder):
    results(folder, "custom_cnn")
    alone = card_of("custom_cnn")
    assert not any(word in alone for word in ("seeds,", "confidence 0", "augmentation (", " ms ", "weights of"))
    assert "- One run: what other seeds give was not measured" in alone
    beside(folder, "custom_cnn", title="An older network on some data (seed 1)")
    (folder / "custom_cnn_results.json").unlink()
    assert card_of("custom_cnn") == alone
    beside(folder, "custom_cnn", more_wrong=1)  # the same recipe and seed, trained once more
    (folder / "custom_cnn_results.json").unlink()
    assert card_of("custom_cnn") == alone
    one = {"recipe": "some", "settings": {}, "config": {"recipe": "some"}}
    one["test_accuracy"] = {"mean": 0.5, "std": None, "n": 1}
    write(folder, "custom_cnn_results.json", {"results": [one]})
    assert card_of("custom_cnn") == alone, "one seed is no spread"


def test_a_card_names_mean_and_worst_kind_of_this_very_model_on_corrupted_images(folder):
    results(folder, "cifar100")
    alone, accuracy = card_of("cifar100"), sum(range(30, 50)) / 1000

    def card_with(accuracy, title=TITLE, images=1000):
        entry = {"title": title, "file": MODELS["cifar100"].file, "images": images}
        entry["kinds"] = [{"kind": "some noise"}] * 19
        entry["clean"] = {"accuracy": accuracy}
        entry["mean"] = {"accuracy": 0.51234, "expected_calibration_error": 0.21234}
        entry["worst"] = {"kind": "some noise", "accuracy": 0.11234}
        write(folder, "robustness.json", {"models": [entry]})
        return card_of("cifar100")

    metrics = section(card_with(accuracy + 0.001), "Metrics")  # an export took another side in a near tie
    assert "19 kinds at five severities): mean accuracy 0.5123; worst kind some noise, 0.1123" in metrics
    assert "calibration error 0.212" in metrics
    for other in ((accuracy + 0.01,), (accuracy, "An older network"), (accuracy, TITLE, 50)):
        assert card_with(*other) == alone


def test_there_is_a_card_for_each_finished_run_on_real_data_and_no_other(folder):
    assert cards.cards() == {}
    results(folder, "custom_cnn", dataset="digits")
    results(folder, "resnet50")
    assert [path.as_posix() for path in cards.cards()] == ["output/resnet50_model_card.md"]


def test_the_report_writes_a_missing_or_stale_card_and_nothing_else(folder, capsys):
    (folder.parent / "README.md").touch()
    results(folder, "resnet50")
    path = folder / "resnet50_model_card.md"

    def said():
        report.main()
        return capsys.readouterr().out

    assert said() == "rewritten: output/resnet50_model_card.md\n" and "Abacus" in path.read_text(encoding="utf-8")
    assert said() == "rewritten: nothing\n"
    results(folder, "resnet50", test_loss=0.11111)
    assert said() == "rewritten: output/resnet50_model_card.md\n" and "0.1111" in path.read_text(encoding="utf-8")


def test_committed_cards_agree_with_the_result_files(monkeypatch):
    monkeypatch.chdir(PROJECT)
    for path, text in cards.cards().items():
        assert path.read_text(encoding="utf-8") == text, "run: python -m pipeline.report"


def test_a_model_on_own_data_has_a_card_of_what_its_run_knows(folder):
    notes = {"test_part": "a stratified fifth of the images, seed 0"}
    about = {"dataset": "my pictures", "image_shape": [40, 32, 3], "data_notes": notes, "files": {}}
    results(folder, "cifar100", **about)
    card = card_of("cifar100")
    assert "shape `(n, 40, 32, 3)`: red, green, blue" in section(card, "Input and output")
    assert "`my pictures`, own data; the test part is a stratified fifth" in section(card, "Data")
