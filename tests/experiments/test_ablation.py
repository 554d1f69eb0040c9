"""The ablation study: one change per variant, a table that survives an interruption, and its summary."""

import dataclasses
import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from conftest import PROJECT

import cifar100_cnn
from experiments import ablation_runs, ablation_table, cifar100_ablation
from experiments.variants import TTA_VARIANTS, VARIANTS, Variant, change, changes
from pipeline import atomic_io, backend
from pipeline.backend import keras
from pipeline.data import datasets
from pipeline.errors import UserError
from pipeline.report import __main__ as report
from pipeline.report import tables

tensorflow = pytest.importorskip("tensorflow")


@pytest.fixture(autouse=True)
def few_images(synthetic, monkeypatch):
    """Eight images of each part, wherever a script asks for data."""
    few = datasets.shrink(datasets.split(synthetic), 8)
    monkeypatch.setattr(datasets, "prepare", lambda config: few)
    return few


def smaller(variant):
    """The same variant with two blocks of few filters."""
    given = dict(getattr(variant.build, "keywords", {}))
    given["widths"] = (12, 24) if "widths" in given else (8, 16)
    given["inner"] = (8, 8)
    return dataclasses.replace(variant, build=partial(getattr(variant.build, "func", variant.build), **given))


def test_there_are_the_variants_that_were_asked_for_each_with_a_change_of_its_own():
    assert len(VARIANTS) + len(TTA_VARIANTS) >= 15
    described = changes()
    assert described.pop("reference") == ""
    assert all(described.values()) and len(set(described.values())) == len(VARIANTS) + len(TTA_VARIANTS)
    assert tuple(VARIANTS) == ablation_runs.VARIANTS
    assert {variant.kind for variant in VARIANTS.values()} == set(ablation_table.KINDS)
    assert change(VARIANTS["no label smoothing"]) == "label_smoothing=0.0"
    assert change(VARIANTS["CutMix"]) == "cutmix(alpha=1.0, probability=0.5)"
    assert described["test-time flip"] == "tta=flip"
    known = {field.name for field in dataclasses.fields(cifar100_cnn.Config)}
    assert all(variant.settings.keys() <= known for variant in VARIANTS.values())


def test_every_row_of_the_published_table_is_of_a_variant_of_today():
    about = atomic_io.read_json(PROJECT / "output" / "cifar100_ablation.json")
    if about["settings"]["batch_size"] != cifar100_ablation.Config().batch_size:
        pytest.skip("the published table is of an earlier reference, and says so")
    table = pd.read_csv(PROJECT / "output" / "cifar100_ablation.csv", keep_default_na=False)
    assert set(zip(table["variant"], table["change"], strict=True)) <= set(changes().items())


def test_the_reference_is_recipe_fast_at_the_short_budget():
    config = cifar100_ablation.settings(cifar100_ablation.Config(), Variant(), 2)
    assert config == cifar100_cnn.Config(epochs=5, seed=2, validation=0.1)
    changed = cifar100_ablation.settings(cifar100_ablation.Config(), VARIANTS["twice the epochs"], 0)
    assert changed == cifar100_cnn.Config(epochs=10, validation=0.1)
    without = cifar100_ablation.settings(cifar100_ablation.Config(), VARIANTS["no shifts"], 0)
    assert without == cifar100_cnn.Config(epochs=5, shift=0, validation=0.1)


def test_every_variant_trains_and_changes_what_comes_out(eagerly, few_images, monkeypatch):
    # Clearing the session takes as long as the training here; it has a test of its own.
    monkeypatch.setattr(backend, "fresh_session", keras.utils.set_random_seed)

    def probabilities(variant):
        """After two steps on small images, in which the rate rises, and two on whole ones."""
        short = cifar100_ablation.Config(dataset="synthetic", epochs=2, batch_size=4)
        gentle = {"learning_rate": 0.02, "warm_up": 0.5, **variant.settings}
        config = dataclasses.replace(cifar100_ablation.settings(short, variant, 0), **gentle)
        model, seconds = cifar100_ablation.fit(smaller(variant), config, few_images)
        assert seconds > 0
        return model.predict_on_batch(few_images.x_validation.astype(np.float32))

    reference = probabilities(Variant())
    assert reference.max() < 0.9
    np.testing.assert_array_equal(probabilities(Variant()), reference)
    for name, variant in VARIANTS.items():
        found = probabilities(variant)
        assert np.isfinite(found).all(), name
        assert not np.array_equal(found, reference), f"{name} changed nothing"


def test_every_run_is_trained_in_the_chosen_precision(eagerly, few_images):
    """Keras forgets the dtype policy when it clears a session."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    short = cifar100_ablation.Config(dataset="synthetic", epochs=1, batch_size=12)
    for _ in range(2):
        model, _ = cifar100_ablation.fit(
            smaller(Variant()), cifar100_ablation.settings(short, Variant(), 0), few_images
        )
        assert model.get_layer("block1_conv1").dtype_policy.name == "mixed_bfloat16"


@pytest.fixture
def no_plots(monkeypatch):
    monkeypatch.setattr(ablation_table, "plot", lambda *_: None)


def run(folder, *flags):
    usual = ["--dataset", "synthetic", "--dry-run", "--seeds", "1", "--output-dir", str(folder)]
    return cifar100_ablation.main([*usual, *flags])


def table_of(folder):
    return pd.read_csv(folder / "cifar100_ablation.csv", keep_default_na=False)


def test_a_dry_run_goes_on_where_it_was_interrupted(eagerly, tmp_path, monkeypatch, capsys):
    measure, fit, done = cifar100_ablation.measure, cifar100_ablation.fit, []
    monkeypatch.setattr(cifar100_ablation, "fit", lambda variant, *rest: fit(smaller(variant), *rest))

    def four_then_interrupted(name, *rest):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(name)
        return measure(name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(cifar100_ablation, "measure", four_then_interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, "CutMix", "moving average")
    before = table_of(tmp_path)
    assert done == ["reference", "reference", "reference", "CutMix"]
    assert list(before.variant) == [*["reference", *TTA_VARIANTS] * 3, "CutMix"]
    assert run(tmp_path, "CutMix", "moving average") == 0
    assert "3 of 7 runs to do" in capsys.readouterr().out
    table = table_of(tmp_path)
    same = [column for column in table if column != "difference"]  # to a mean over five runs instead of three
    pd.testing.assert_frame_equal(table[same].iloc[:10], before[same], atol=1e-6, check_dtype=False)
    assert list(table.variant[10:]) == [*["reference", *TTA_VARIANTS] * 2, "moving average"]
    assert list(table.columns[:4]) == ["variant", "accuracy", "difference", "seconds"]
    reference = table[table.variant == "reference"]
    assert sorted(reference.seed) == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(table.difference, table.accuracy - reference.accuracy.mean(), atol=1e-5)
    assert {path.name for path in tmp_path.glob("[!.]*")} == {
        f"cifar100_ablation.{kind}" for kind in ("csv", "json", "png")
    }
    about = json.loads((tmp_path / "cifar100_ablation.json").read_text())
    assert about["schema"] == 1 and about["data_sha256"]
    assert about["n_validation"] == 8 and about["settings"]["epochs"] == 1
    assert [variant["n"] for variant in about["variants"] if variant["variant"] in TTA_VARIANTS] == [5, 5]
    monkeypatch.setattr(tables, "read", lambda name: json.loads((tmp_path / name).read_text()))
    lines = report.render("<!-- table ablation -->\n<!-- /table -->").splitlines()
    assert len(lines) == 2 + 2 + 1 + 4  # comments, head, reference, variants
    points = 100 * table[table.variant == "moving average"].difference.iloc[0]
    assert any(line.startswith("| moving average | added |") and f"| {points:+.1f} |" in line for line in lines)


def test_another_reference_is_refused_and_nothing_is_lost(tmp_path):
    folder = tmp_path
    rows = ablation_table.merged([], [row("reference", 0.7)])
    about = {"settings": {"epochs": 5}, "data_sha256": "of other data"}
    ablation_table.write(folder / "cifar100_ablation.csv", rows, about, "a title")
    before = (folder / "cifar100_ablation.csv").read_bytes()
    with pytest.raises(UserError, match=r"data was 'of other data'.*epochs was 5 and is 1.*--output-dir"):
        run(folder, "CutMix")
    assert (folder / "cifar100_ablation.csv").read_bytes() == before
    (folder / "cifar100_ablation.json").unlink()
    with pytest.raises(UserError, match="damaged"):
        run(folder, "CutMix")


def test_the_test_images_are_never_at_hand(tmp_path, monkeypatch):
    def look(name, variant, config, dataset):
        assert dataset.x_test is None and dataset.y_test is None and dataset.fine_test is None
        raise KeyboardInterrupt

    monkeypatch.setattr(cifar100_ablation, "measure", look)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)


def test_a_variant_that_fails_is_named_and_does_not_stop_the_others(tmp_path, no_plots, monkeypatch, capsys):
    def some_fail(name, variant, config, dataset):
        if name == "moving average":
            raise UserError("the loss is nan")
        return [row(name, 0.5, seed=config.seed, change=change(variant))]

    monkeypatch.setattr(cifar100_ablation, "measure", some_fail)
    assert run(tmp_path, "moving average", "CutMix") == 1
    assert "moving average, seed 0 failed: the loss is nan" in capsys.readouterr().err
    assert sorted(table_of(tmp_path).variant) == ["CutMix", *["reference"] * 5]

    def all_fail(*_):
        raise UserError("the loss is nan")

    monkeypatch.setattr(cifar100_ablation, "measure", all_fail)
    with pytest.raises(UserError):
        run(tmp_path / "other")


def test_a_variant_whose_strength_has_changed_is_measured_again(tmp_path, no_plots, monkeypatch, capsys):
    def answer(name, variant, config, dataset):
        ran.append(name)
        return [row(name, 0.5, seed=config.seed, change=change(variant))]

    ran = []
    monkeypatch.setattr(cifar100_ablation, "measure", answer)
    run(tmp_path, "cutout", "moving average")
    monkeypatch.setitem(VARIANTS, "cutout", Variant("added", {"shift": 3}))
    ran.clear()
    run(tmp_path, "cutout", "moving average")
    assert ran == ["cutout"]
    assert "left out, because the variant has changed: cutout" in capsys.readouterr().out
    assert sorted(table_of(tmp_path).change) == [*[""] * 5, change(VARIANTS["moving average"]), "shift=3"]


def test_more_seeds_are_added_to_those_that_are_there(tmp_path, no_plots, monkeypatch):
    def answer(name, variant, config, dataset):
        ran.append((name, config.seed))
        return [row(name, 0.5, seed=config.seed, change=change(variant))]

    ran = []
    monkeypatch.setattr(cifar100_ablation, "measure", answer)
    run(tmp_path, "cutout")
    ran.clear()
    run(tmp_path, "cutout", "--seeds", "6")
    assert ran == [*[("cutout", seed) for seed in range(1, 5)], ("reference", 5), ("cutout", 5)]


@pytest.fixture
def answered(monkeypatch):
    """Runs that take no time, each with an accuracy of its own; their names and seeds."""
    ran = []

    def answer(name, variant, config, dataset):
        ran.append((name, config.seed))
        return [row(name, 0.5 + len(name) / 100 + config.seed / 1000, seed=config.seed, change=change(variant))]

    monkeypatch.setattr(cifar100_ablation, "measure", answer)
    return ran


def alone(folder):
    """Every run of the study with two variants, each by itself."""
    for name, seed in ablation_runs.ordered(["cutout", "no shifts"], seeds=1):
        assert run(folder, name, "--seed", str(seed)) == 0


def test_runs_one_by_one_and_collected_are_the_table_of_the_whole_study(tmp_path, no_plots, answered):
    one_by_one = tmp_path / "runs"
    alone(one_by_one)
    assert run(tmp_path / "one", "cutout", "no shifts", "--collect", str(one_by_one)) == 0
    assert run(tmp_path / "whole", "cutout", "no shifts") == 0
    assert (tmp_path / "one" / "cifar100_ablation.csv").read_text() == (
        tmp_path / "whole" / "cifar100_ablation.csv"
    ).read_text()
    assert answered[:7] == answered[7:]
    about = json.loads((tmp_path / "one" / "cifar100_ablation.json").read_text())
    assert about == json.loads((tmp_path / "whole" / "cifar100_ablation.json").read_text())


def test_a_run_alone_is_skipped_until_its_variant_or_the_reference_changes(tmp_path, answered, monkeypatch):
    for _ in range(2):
        run(tmp_path, "cutout", "--seed", "1")
    assert {path.name for path in tmp_path.glob("[!.]*")} == {"cutout-seed1.json"}
    assert answered == [("cutout", 1)]
    run(tmp_path, "cutout", "--seed", "1", "--batch-size", "8")
    assert len(answered) == 2
    monkeypatch.setitem(VARIANTS, "cutout", Variant("added", {"shift": 3}))
    run(tmp_path, "cutout", "--seed", "1", "--batch-size", "8")
    assert len(answered) == 3


def test_what_is_collected_must_have_one_reference_and_what_is_missing_is_named(tmp_path, no_plots, answered, capsys):
    one_by_one = tmp_path / "runs"
    collect = ("cutout", "no shifts", "--collect", str(one_by_one))
    with pytest.raises(UserError, match=r"has no run of the reference.*reference --seed 0"):
        run(tmp_path, *collect)
    alone(one_by_one)
    (one_by_one / "no_shifts-seed0.json").unlink()
    assert run(tmp_path, *collect) == 1
    assert capsys.readouterr().err == "no run of: no shifts\n"
    before = (tmp_path / "cifar100_ablation.csv").read_bytes()
    assert run(one_by_one, "no shifts", "--seed", "0", "--batch-size", "8") == 0
    with pytest.raises(UserError, match=r"no_shifts-seed0.json has another reference: batch_size was 32 and is 8"):
        run(tmp_path, *collect)
    (one_by_one / "no_shifts-seed0.json").write_text("{}")
    with pytest.raises(UserError, match=r"no_shifts-seed0.json is damaged"):
        run(tmp_path, *collect)
    assert (tmp_path / "cifar100_ablation.csv").read_bytes() == before


def test_a_variant_that_fails_alone_leaves_no_file(tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise UserError("the loss is nan")

    monkeypatch.setattr(cifar100_ablation, "measure", fail)
    assert run(tmp_path, "moving average", "--seed", "0") == 1
    assert "moving average, seed 0 failed: the loss is nan" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.json"))
    with pytest.raises(UserError, match="the loss is nan"):
        run(tmp_path, "reference", "--seed", "0")


@pytest.mark.parametrize(
    "flags", [["--seed", "0"], ["moving average", "CutMix", "--seed", "0"], ["test-time flip", "--seed", "0"]]
)
def test_a_run_alone_is_of_one_variant(tmp_path, flags):
    with pytest.raises(UserError, match="name one variant of: reference, cutout"):
        run(tmp_path, *flags)


def test_an_unknown_variant_is_bad_input_that_lists_the_known_ones(tmp_path):
    with pytest.raises(UserError, match=r"no variant is called magic; there are: cutout, .*test-time flip"):
        run(tmp_path, "magic")
    assert not list(tmp_path.iterdir())


def row(name, accuracy, seed=0, seconds=100.0, kind=None, change="", machine="one"):
    kind = kind or ("reference" if name == "reference" else "added")
    values = {"variant": name, "accuracy": accuracy, "seed": seed, "seconds": seconds, "kind": kind, "change": change}
    return {**values, "epochs": 5, "parameters": 10, "commit": "abc", "machine": machine}


def test_the_summary_is_the_mean_over_seeds_and_the_sample_deviation():
    rows = ablation_table.merged([], [row("reference", value, seed) for seed, value in enumerate((0.70, 0.71, 0.75))])
    rows = ablation_table.merged(rows, [row("CutMix", 0.70), row("CutMix", 0.74, 1, 300.0), row("cutout", 0.8)])
    found = ablation_table.summary(rows)
    assert found["reference"]["mean"] == pytest.approx(0.72)
    assert found["reference"]["std"] == pytest.approx(np.std([0.70, 0.71, 0.75], ddof=1))
    assert [variant["variant"] for variant in found["variants"]] == ["cutout", "CutMix"], "best first"
    cutmix = found["variants"][1]
    assert (cutmix["difference"], cutmix["n"]) == (pytest.approx(0.0), 2)
    assert cutmix["relative_time"] == pytest.approx(2.0)
    # Student's t for 2 + 1 degrees of freedom is 3.182; the deviation is that of both variants with several seeds.
    deviation = np.sqrt((0.02**2 + 0.01**2 + 0.03**2 + 2 * 0.02**2) / 3)
    assert found["reference"]["band"] == pytest.approx(3.1824 * deviation * np.sqrt(1 + 1 / 3), rel=1e-4)
    later = ablation_table.merged(rows, [row("cutout", 0.6)])
    assert [entry["accuracy"] for entry in later if entry["variant"] == "cutout"] == [0.6]


def test_seconds_are_compared_with_the_reference_on_the_same_machine(tmp_path):
    rows = [row("reference", 0.7), row("cutout", 0.8, seconds=50.0, machine="two")]
    found = ablation_table.summary(ablation_table.merged([], rows))
    assert found["variants"][0]["relative_time"] is None
    ablation_table.plot(ablation_table.merged([], rows), found, "a title", tmp_path / "plot.png")
    rows.append(row("reference", 0.7, 1, seconds=25.0, machine="two"))
    found = ablation_table.summary(ablation_table.merged([], rows))
    assert found["variants"][0]["relative_time"] == pytest.approx(2.0)


def test_the_plot_names_every_variant_its_points_and_the_band(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(ablation_table, "save", lambda figure, path: figures.append(figure))
    rows = [row("reference", value, seed) for seed, value in enumerate((0.74, 0.75, 0.76))]
    rows = ablation_table.merged(rows, [row("moving average", 0.763), row("ViT", 0.5, kind="replaced", seconds=250.0)])
    ablation_table.plot(rows, ablation_table.summary(rows), "a title", tmp_path / "no.png")
    axes = figures[0].axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["reference (3 seeds)", "ViT", "moving average"]
    texts = {text.get_text() for text in axes.texts}
    assert {"+1.3", "−25.0", "2.5", "1.0"} <= texts
    # Student's t for two degrees of freedom is 4.303; the deviation is one point.
    assert any("± 5.0 points" in text for text in texts)
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (band.x0, band.x1) == (pytest.approx(-4.969, abs=1e-3), pytest.approx(4.969, abs=1e-3))
    assert axes.get_xlim()[0] > -20, "what lies far below is drawn at the edge"
