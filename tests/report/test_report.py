"""The documents carry the numbers of the result files in output/, and no others."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROJECT

from pipeline.errors import UserError
from pipeline.models.saved_model import MODELS
from pipeline.report import __main__ as report
from pipeline.report import markdown, reliability, speed, tables

DOCUMENTS = [path.relative_to(PROJECT).as_posix() for path in report.documents(PROJECT)]


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    monkeypatch.chdir(PROJECT)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_committed_texts_agree_with_the_result_files(name):
    text = (PROJECT / name).read_text(encoding="utf-8")
    assert report.render(text) == text, "run: python -m pipeline.report"


def test_a_table_without_its_file_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"novelty.json is missing"):
        report.render("<!-- table novelty -->\n<!-- /table -->")


def test_a_result_of_a_recipe_is_that_of_its_own_settings():
    recipes = [("fast", {"labels": "fine"}), ("best", {}), ("fast", {})]
    results = [{"recipe": recipe, "settings": settings} for recipe, settings in recipes]
    assert markdown.result_of(results, "fast") is results[2]
    with pytest.raises(KeyError, match="none"):
        markdown.result_of(results, "none")


def test_a_folder_that_is_not_the_projects_is_bad_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no README.md"):
        report.main()


def test_the_documents_of_the_working_folder_are_written_and_no_others(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(report.TABLES, "a", lambda: "3")
    for name in ("README.md", "docs/b.md", "other.md"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("it is\n<!-- table a -->\n2\n<!-- /table -->")
    report.main()
    assert capsys.readouterr().out == "rewritten: README.md, docs/b.md\n"
    assert Path("docs/b.md").read_text() == "it is\n<!-- table a -->\n3\n<!-- /table -->"
    assert "2" in Path("other.md").read_text()


def test_every_document_of_the_folder_is_covered():
    assert {"README.md", "README.tr.md", "technical_report.md", "docs/reliability.md", "docs/data.md"} <= set(DOCUMENTS)


def test_a_table_that_does_not_exist_is_named():
    with pytest.raises(UserError, match="asks for table runz"):
        report.render("<!-- table runz -->\n<!-- /table -->")


def test_it_reads_and_draws_nothing():
    code = "import sys, pipeline.report.__main__; sys.exit(bool({'keras', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT).returncode == 0


def test_a_table_without_its_recipe_is_named(monkeypatch):
    monkeypatch.setattr(tables, "read", lambda name: {"results": []})
    with pytest.raises(UserError, match="no 'baseline', which table baseline shows"):
        report.render("<!-- table baseline -->\n<!-- /table -->")


def test_a_table_is_replaced_and_names_every_run():
    rendered = report.render("<!-- table runs -->\nold\n<!-- /table -->")
    assert "old" not in rendered
    for prefix in MODELS:
        assert f"{tables.read(f'{prefix}_metrics.json')['test_accuracy']:.4f}" in rendered


def test_the_baselines_table_says_where_it_was_best_and_when_the_rate_fell(monkeypatch):
    best = {"loss": 0.9, "val_loss": 0.95, "accuracy": 0.7, "val_accuracy": 0.74}
    last = {"loss": 0.5, "val_loss": 1.25, "accuracy": 0.9, "val_accuracy": 0.73}
    plateau = {"best_epoch": 40, "rate_fell_before_epochs": [46, 52], "best": best, "last": last}
    run = {"epochs": 60, "test_accuracy": 0.745, "test_loss": 0.96, "macro_f1": 0.744, "plateau": plateau}
    result = {"recipe": "baseline", "settings": {}, "runs": [run]}
    monkeypatch.setattr(tables, "read", lambda name: {"results": [result]})
    rows = tables.baseline().splitlines()
    assert rows[2] == "| best epoch | 40 | 0.9000 | 0.9500 | 0.7000 | 0.7400 |"
    assert rows[3] == "| last epoch | 60 | 0.5000 | 1.2500 | 0.9000 | 0.7300 |"
    assert "0.7450" in rows[-1] and rows[-1].endswith("halved before these epochs: 46, 52.")
    for epoch in (best, last):
        epoch["val_cross_entropy"] = 0.8
    assert "| 0.9000 | 0.9500 | 0.8000 | 0.7000 | 0.7400 |" in tables.baseline(), "where it is known"


def test_the_validation_loss_is_shown_where_a_run_has_recorded_it(monkeypatch):
    read, recorded = tables.read, {}

    def read_with(name):
        found = {key: value for key, value in read(name).items() if key != "validation_loss"}
        return {**found, **recorded.get(name, {})}

    monkeypatch.setattr(tables, "read", read_with)
    shown = tables.runs().splitlines()
    assert "validation loss" not in shown[0]
    recorded["resnet50_metrics.json"] = {"validation_loss": 0.12345}
    shown = tables.runs().splitlines()
    assert "| validation loss | test accuracy |" in shown[0]
    assert len({row.count("|") for row in shown}) == 1 and "| 0.1235 |" in shown[-1] and "0.1235" not in shown[2]


def test_times_without_bfloat16_are_shown_only_where_there_are_no_others():
    runs = [(True, 370), (True, 414), (False, 2100), (True, 400)]
    runs = [{"bfloat16": has, "accelerator": "none", "wall_seconds": seconds} for has, seconds in runs]
    assert tables._times(runs) == "6:10 to 6:54"
    assert tables._times(runs[2:3]) == "35:00 without bfloat16" and tables._times(runs[:1]) == "6:10"
    assert tables._times([runs[2] | {"accelerator": "NVIDIA T4"}]) == "35:00"


def test_the_table_of_exports_says_which_failed_and_leaves_open_what_was_not_measured(monkeypatch):
    kept = {"megabytes": 9.4, "difference": 2e-7, "accuracy_before": 0.8, "accuracy_after": 0.8, "failure": None}
    none = dict.fromkeys(kept) | {"failure": "cannot be converted or run: x"}
    monkeypatch.setattr(speed, "read", lambda name: {"exports": {"saved_model": kept, "int8": none}})
    rows = speed.exports().splitlines()[2:]
    assert rows[0] == "| cifar100_cnn_scratch | saved model | 9.4 | 2e-07 | 0.8000 | 0.8000 | yes |"
    assert rows[1] == "| cifar100_cnn_scratch | int8 |  |  |  |  | no |" and len(rows) == 2 * len(MODELS)
    kept["agreement"] = 0.9876
    assert "| 9.4 | 98.8% | 2e-07 |" in speed.exports(), "where it is known"


def test_the_table_of_robustness_names_mean_worst_kind_and_every_everyday_change(monkeypatch):
    metrics = {"accuracy": 0.81234, "expected_calibration_error": 0.01234}
    entry = {"network": "some CNN", "dataset": "some data", "images": 1234, "clean": metrics}
    entry["mean"] = {"accuracy": 0.51234, "expected_calibration_error": 0.21234}
    entry["worst"] = {"kind": "some noise", "accuracy": 0.11234}
    entry["everyday"] = [{"kind": "a blur", **metrics}, {"kind": "a turn", **metrics, "accuracy": 0.71234}]
    monkeypatch.setattr(reliability, "read", lambda name: {"models": [entry]})
    head, _, row = reliability.robustness().splitlines()
    assert head.endswith("| a blur | a turn |")
    assert row.startswith("| some CNN, some data | 1,234 | 0.8123 | 0.5123 | 0.1123 (some noise) | 0.012 | 0.212 |")
    assert row.endswith("| 0.8123 | 0.7123 |")


def test_the_table_of_faults_counts_short_and_long_tests_of_one_thing_together(monkeypatch):
    tried = [
        {"what": "a bit flipped", "counts": {"times": 10, "refused": 3, "slowest_seconds": 2.5}},
        {"what": "killed", "counts": {"times": 20, "lost_steps": 0}},
        {"what": "a bit flipped", "counts": {"times": 1000, "refused": 400, "slowest_seconds": 0.5}},
    ]
    part = {"failed": 0, "skipped": [], "hardware": {"cores": 2, "processor": "Abacus"}}
    parts = {"test_a.py": part | {"tried": tried[:2]}, "test_b.py": part | {"tried": tried[2:], "failed": 1}}
    monkeypatch.setattr(reliability, "read", lambda name: {"wall_seconds": 122, "parts": parts})
    table = reliability.faults()
    assert "| a bit flipped | 1,010 | refused: 403, slowest seconds: 2.5 |" in table
    assert "| killed | 20 | lost steps: 0 |" in table
    assert table.endswith("1 tests failed; the whole took 2:02 on 2 cores (Abacus).")


def test_the_short_table_of_recipes_begins_with_the_least_accurate_one(monkeypatch):
    run = {"parameters": 1234, "training_flops": 2.5e15, "wall_seconds": 61, "bfloat16": True, "accelerator": "none"}
    fine = {"recipe": "b", "settings": {"labels": "fine"}, "test_accuracy": {"mean": 0.8148, "std": 0.0021, "n": 2}}
    fine |= {"tta_accuracy": {"mean": 0.829, "std": None, "n": 1}, "runs": [run]}
    plain = {"recipe": "a", "settings": {}, "test_accuracy": {"mean": 0.7, "std": None, "n": 1}, "runs": [run]}
    monkeypatch.setattr(tables, "read", lambda name: {"results": [fine, plain]})
    rows = tables.cifar100_in_brief().splitlines()[2:]
    assert rows[0] == "| a | 1,234 | 2.5 | 70.00 |  | 1 | 1:01 |"
    assert rows[1] == "| b (labels=fine) | 1,234 | 2.5 | 81.48 ± 0.21 | 82.90 | 2 | 1:01 |"


def test_the_table_of_read_digits_ends_with_the_sum(monkeypatch):
    kind = {"kind": "plain", "pictures": 20, "right": 17, "not_found": 1, "wrong": 2, "confident": 1}
    monkeypatch.setattr(reliability, "read", lambda name: {"kinds": [kind, kind | {"kind": "chalk", "right": 19}]})
    assert reliability.digit_reading().splitlines()[-1] == "| all | 40 | 36 | 2 | 4 | 2 |"


def test_the_short_table_of_explanations_has_the_default_grad_cam_and_a_control_of_each_model():
    rows = [row.split(" | ") for row in reliability.faithfulness_in_brief().splitlines()[2:]]
    models = [row[0] for row in rows]
    assert all(models.count(model) == 3 for model in models)
    assert [row[-1] for row in rows if "(control)" in row[1]] == [" |"] * (len(rows) // 3)


def test_the_first_table_shows_mean_accuracies_and_the_fastest_runs_minutes(monkeypatch):
    runs = [(0.99, 20), (0.98, 600), (0.97, 30)]
    runs = [{"test_accuracy": a, "wall_seconds": s, "parameters": 1_234_567} for a, s in runs]
    results = [{"recipe": name, "settings": {}, "runs": runs} for name in ("sprint", "default", "fast", "best")]
    monkeypatch.setattr(tables, "read", lambda name: {"results": results, **runs[1]})
    rows = tables.headline().splitlines()[2:]
    assert len(rows) == len(tables.HEADLINE)
    assert rows[0].endswith("| `python mnist_classification.py --recipe sprint` | 98.0 % | 0.3 | 1.23 M |")
    assert "--recipe" not in rows[1]
    assert "--weights FILE` | 98.0 % | 10 |" in rows[2], "a single run"
