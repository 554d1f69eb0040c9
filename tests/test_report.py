"""The texts carry the figures of the result files in output/, and no others."""

import re

import pytest

from pipeline import report, tables


@pytest.mark.parametrize("name", report.TEXTS)
def test_committed_texts_agree_with_the_result_files(name):
    text = (report.PROJECT / name).read_text(encoding="utf-8")
    assert report.render(text) == text, "run: python -m pipeline.report"


def test_a_figure_is_replaced_by_the_measured_one():
    accuracy = tables.read("custom_cnn_metrics.json")["test_accuracy"]
    stale = "reached <!-- custom_cnn_metrics.json test_accuracy .4f -->0.1234<!-- / --> here"
    assert f"-->{accuracy:.4f}<!--" in report.render(stale)
    assert report.render(report.render(stale)) == report.render(stale)


def test_a_table_is_replaced_and_names_every_run():
    rendered = report.render("<!-- table runs -->\nold\n<!-- /table -->")
    assert "old" not in rendered
    for prefix in tables.RUNS:
        assert f"{tables.read(f'{prefix}_metrics.json')['test_accuracy']:.4f}" in rendered


@pytest.mark.parametrize("name", report.TEXTS)
def test_no_accuracy_stands_in_the_text_without_a_source(name):
    text = (report.PROJECT / name).read_text(encoding="utf-8")
    free = report.TABLE.sub("", report.FIGURE.sub("", text))
    # What looks like a measured accuracy or loss: four decimals, or a percentage with decimals.
    assert not re.findall(r"\b0\.\d{4}\b|\b\d+\.\d+ ?%", free)
