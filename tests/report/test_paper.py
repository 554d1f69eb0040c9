"""technical_report.md is a short paper, and the numbers in its prose stand in its tables."""

import re

import pytest
from conftest import PROJECT
from test_texts import CODE, sentences, visible, words

import cifar100_cnn
import mnist_classification
import resnet50_transfer_learning
from pipeline.backend import keras
from pipeline.report import __main__ as report
from pipeline.report import tables

REPORT = (PROJECT / "technical_report.md").read_text(encoding="utf-8")
PAPER = report.TABLE.sub("", REPORT.split("\n## Appendix\n")[0])
NUMBER = re.compile(r"\d+\.\d+(?: ?%)?|\d+ ?%")  # with a decimal point or a percent sign


def in_tables(text):
    """Numbers of the generated tables: those with decimals, and the percentages."""
    decimals, percentages = set(), set()
    for table in report.TABLE.finditer(text):
        rows = [row.strip("|").split("|") for row in table[2].splitlines() if row.startswith("|")]
        for row in rows:
            for head, cell in zip(rows[0], row, strict=True):
                for number, point, sign in re.findall(r"(\d[\d,]*(\.\d+)?)( ?%)?", cell):
                    value = float(number.replace(",", ""))
                    if point:
                        decimals.add(value)
                    if sign or "%" in head:
                        percentages.add(value)
                    elif point and value <= 1:
                        percentages.add(100 * value)
    return decimals, percentages


def without_a_table(text):
    """Numbers of the prose that are no rounding of a number in a generated table of the same text."""
    decimals, percentages = in_tables(text)
    prose = CODE.sub("", visible(report.TABLE.sub("", text)))
    missing = []
    for number in NUMBER.findall(re.sub(r"\barXiv \d+\.\d+", "", prose)):
        known = percentages if "%" in number else decimals
        value = number.rstrip("% ")
        digits = len(value.partition(".")[2])
        if not any(abs(float(value) - one) <= 0.5 * 10**-digits + 1e-9 for one in known):
            missing.append(number)
    return missing


def test_it_is_short_and_its_sentences_are():
    assert len(words(PAPER)) <= 2500
    lengths = [len(words(sentence)) for sentence in sentences(PAPER)]
    assert max(lengths) <= 30
    assert sum(lengths) / len(lengths) <= 17


def test_it_has_few_pictures_and_each_has_a_numbered_caption():
    pictures = re.findall(r"^!\[.+\]\(output/\S+\.png\)\n\n\*\*Figure (\d+)\.\*\* \w", PAPER, flags=re.MULTILINE)
    assert pictures == [f"{n + 1}" for n in range(PAPER.count("!["))]
    assert len(pictures) <= 12


def test_every_table_has_a_numbered_caption():
    captions = re.findall(r"^<!-- /table -->\n\n\*\*Table (A?\d+)\.\*\* \w", REPORT, flags=re.MULTILINE)
    assert len(captions) == len(report.TABLE.findall(REPORT))
    of_body = [caption for caption in captions if caption.isdigit()]
    of_appendix = captions[len(of_body) :]
    assert of_body == [f"{n + 1}" for n in range(len(of_body))]
    assert of_appendix == [f"A{n + 1}" for n in range(len(of_appendix))]
    assert set(re.findall(r"Table (A?\d+)", REPORT)) <= set(captions)


def test_every_number_of_the_report_stands_in_a_table():
    assert without_a_table(REPORT) == []


MEASURED = """
<!-- table a -->
| model | accuracy | reached (%) |
| --- | --: | --: |
| one | 0.8148 | 82.90 |
| two | 7 | 1,234 |
<!-- /table -->
"""


@pytest.mark.parametrize("said", ["about 81 %", "81.5 %", "0.81", "82.9 %", "82.90", "83 %", "`0.3`, arXiv 1.2"])
def test_a_rounded_number_of_a_table_is_known(said):
    assert without_a_table(f"It is {said}.{MEASURED}") == []


@pytest.mark.parametrize("said", ["82 %", "81.4 %", "0.82", "82.91", "7 %", "0.87"])
def test_any_other_number_is_not(said):
    assert len(without_a_table(f"It is {said}.{MEASURED}")) == 1


def test_the_optimizers_of_the_table_of_settings_are_those_of_the_scripts(synthetic):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])

    def after(prepare, model, *arguments):
        prepare(model, *arguments)
        return type(model.optimizer).__name__

    def prepared(recipe):
        config = cifar100_cnn.Config(recipe=recipe)
        prepare = cifar100_cnn.PREPARE.get(recipe, cifar100_cnn.prepare_fast)
        return after(prepare, cifar100_cnn.build_model(config), config, synthetic)

    assert {
        ("cifar100", "baseline"): after(cifar100_cnn.prepare_baseline, model, cifar100_cnn.Config(), synthetic),
        ("cifar100", "fast"): prepared("fast"),
        ("cifar100", "best"): prepared("best"),
        ("cifar100", "transformer"): prepared("transformer"),
        ("custom_cnn", "default"): after(mnist_classification.compile_model, model, mnist_classification.Config(), 10),
        ("resnet50", "default"): after(
            resnet50_transfer_learning.compile_one_cycle, model, resnet50_transfer_learning.Config(), 10
        ),
    } == tables.OPTIMIZERS


def test_a_setting_that_a_recipe_does_not_use_is_empty():
    head, _, *rows = tables.settings().splitlines()
    cells = {row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:-1]] for row in rows}
    columns = [cell.strip() for cell in head.split("|")[2:-1]]
    decay = dict(zip(columns, cells["weight decay"], strict=True))
    assert decay["CIFAR-100 fast"] == decay["CIFAR-100 best"] == "" and decay["custom CNN"]
