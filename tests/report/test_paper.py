"""technical_report.md is a short paper, and a number in the prose of a document stands in one of its tables."""

import re
from itertools import count

import pytest
from conftest import PROJECT

import cifar100_cnn
import mnist_classification
import resnet50_transfer_learning
from pipeline.backend import keras
from pipeline.report import __main__ as report
from pipeline.report import tables

DOCUMENTS = [path.relative_to(PROJECT).as_posix() for path in report.documents(PROJECT)]
REPORT = (PROJECT / "technical_report.md").read_text(encoding="utf-8")
PAPER = REPORT.split("\n## Appendix\n")[0]
# A number with a decimal point or a percent sign; what looks like a measured accuracy.
NUMBERS = r"\d+\.\d+(?: ?%)?|\d+ ?%"
ACCURACIES = r"\b0\.\d{4}\b|\b\d+\.\d+ ?%"


def prose(text):
    """The text without comments, tables, pictures, blocks of code and addresses."""
    text = re.sub(r"<!-- .*? -->", "", report.TABLE.sub("", text))
    text = re.sub(r"^(?:\||    ).*$|^!\[.*$", "", text, flags=re.MULTILINE)
    return re.sub(r"(?<=\])\([^)]*\)", "", text)


def sentences(text):
    """The sentences of the prose, without headings and the bold labels before them."""
    text = re.sub(r"\*\*[^*]+\.\*\*", "", prose(text))
    parts = re.split(r"\n\n|^#+ .*$|^ *(?:-|\d+\.) ", text, flags=re.MULTILINE)
    found = [one for part in parts for one in re.split(r"(?<=[.?!])\s+(?=[A-Z*`\d])", part)]
    return [one.split() for one in found if re.search(r"\w", one)]


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


def without_a_table(text, pattern=NUMBERS):
    """Numbers of the prose that are no rounding of a number in a generated table of the same text."""
    decimals, percentages = in_tables(text)
    missing = []
    said = re.sub(r"`[^`\n]*`|\barXiv \d+\.\d+", "", prose(text))
    for number in re.findall(pattern, said):
        digits = number.rstrip("% ").partition(".")[2]
        known, value = (percentages if "%" in number else decimals), float(number.rstrip("% "))
        if not any(abs(value - one) <= 0.5 * 10 ** -len(digits) + 1e-9 for one in known):
            missing.append(number)
    return missing


def test_it_is_short_and_its_sentences_are():
    assert len(re.findall(r"\S*\w\S*", prose(PAPER))) <= 2500
    lengths = [len(words) for words in sentences(PAPER)]
    assert len(lengths) > 100 and sum(lengths) / len(lengths) <= 17
    assert max(lengths) <= 40


def test_it_has_few_pictures_and_each_has_a_numbered_caption():
    pictures = re.findall(r"^!\[.+\]\(output/\S+\.png\)\n\n\*\*Figure (\d+)\.\*\* \w", PAPER, flags=re.MULTILINE)
    assert len(pictures) == PAPER.count("![") <= 12
    assert [int(number) for number in pictures] == [number for number, _ in zip(count(1), pictures, strict=False)]


def test_every_table_has_a_numbered_caption():
    captions = re.findall(r"^<!-- /table -->\n\n\*\*Table (A?\d+)\.\*\* \w", REPORT, flags=re.MULTILINE)
    assert len(captions) == len(report.TABLE.findall(REPORT))
    body = report.TABLE.findall(PAPER)
    wanted = [str(n + 1) for n in range(len(body))] + [f"A{n + 1}" for n in range(len(captions) - len(body))]
    assert captions == wanted
    mentioned = re.findall(r"Table (A?\d+)", prose(REPORT))
    assert set(mentioned) <= set(captions)


def test_every_number_of_the_report_stands_in_a_table():
    assert without_a_table(REPORT) == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_accuracy_of_a_document_stands_in_a_table(name):
    assert without_a_table((PROJECT / name).read_text(encoding="utf-8"), ACCURACIES) == []


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


def test_sentences_are_counted_without_headings_tables_and_labels():
    text = f"# A heading\n\n**Label.** One two, e.g. three. Four\nfive!{MEASURED}\n- six `a.b c` seven\n- *eight*"
    assert [len(words) for words in sentences(text)] == [4, 2, 4, 1]


def test_the_optimizers_of_the_table_of_settings_are_those_of_the_scripts(synthetic):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])

    def after(prepare, model, *arguments):
        prepare(model, *arguments)
        return type(model.optimizer).__name__

    def prepared(recipe):
        config = cifar100_cnn.Config(recipe=recipe)
        return after(cifar100_cnn.prepare_fast, cifar100_cnn.build_model(config), config, synthetic)

    assert {
        ("cifar100", "baseline"): after(cifar100_cnn.prepare_baseline, model, cifar100_cnn.Config()),
        ("cifar100", "fast"): prepared("fast"),
        ("cifar100", "best"): prepared("best"),
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
    assert decay["CIFAR-100 fast"] == "" and decay["CIFAR-100 best"] and decay["custom CNN"]
