"""Pictures of every kind become what a model takes, and predict.py answers without TensorFlow."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import PROJECT
from PIL import Image

import gradcam
import mnist_classification
import predict
from pipeline.atomic_io import sha256
from pipeline.backend import keras
from pipeline.deploy import export, runtimes
from pipeline.errors import UserError, exit_code
from pipeline.models import saved_model

HEAVY = ("tensorflow", "keras", "pandas", "sklearn", "scipy", "matplotlib", "seaborn", "h5py")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A small custom CNN as .h5 and, where the packages are there, as .onnx and .tflite."""
    keras.utils.set_random_seed(0)
    model = mnist_classification.build_model(mnist_classification.Config(filters=2))
    path = tmp_path_factory.mktemp("models") / "model.h5"
    about = {"prefix": "small", "dataset": "digits", "title": "small"}
    about["class_names"] = [f"class {name}" for name in "abcdefghij"]
    saved_model.save(model, path, image_shape=(28, 28, 1), **about)
    return path, about


@pytest.fixture(scope="module")
def onnx_file(models):
    pytest.importorskip("tf2onnx", reason="optional: pip install -e .[export]")
    pytest.importorskip("onnxruntime", reason="optional: pip install -e .[export]")
    path, about = models
    graph = export.fold_batch_norm(saved_model.load(path))
    export.convert(graph, "onnx", path.with_suffix(".onnx"), None)
    export.describe(path.with_suffix(".onnx"), "onnx", {**about, "source_sha256": sha256(path)})
    return path.with_suffix(".onnx")


@pytest.fixture(scope="module")
def tflite_file(models):
    pytest.importorskip("ai_edge_litert", reason="optional: pip install -e .[export]")
    path, about = models
    export.convert(export.fold_batch_norm(saved_model.load(path)), "float32", path.with_suffix(".tflite"), None)
    export.describe(path.with_suffix(".tflite"), "float32", about)
    return path.with_suffix(".tflite")


@pytest.fixture
def two_digits(digit, tmp_path):
    """A photograph with two digits, dark on light, the left one larger."""
    page = np.full((260, 420), 225, np.uint8)
    for side, left, top in ((140, 50, 60), (112, 240, 70)):
        ink = np.asarray(Image.fromarray(digit).resize((side, side))).astype(float) / 255
        page[top : top + side, left : left + side] = 225 - 190 * ink
    Image.fromarray(page).save(tmp_path / "two.png")
    return tmp_path / "two.png"


def test_several_digits_are_read_as_a_number_each_with_its_place(models, two_digits, capsys):
    path, _ = models
    assert predict.main([str(path), str(two_digits), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["images"]
    left, right = found["digits"]
    assert 50 <= left["box"][0] < left["box"][2] <= 190 and 240 <= right["box"][0] < right["box"][2] <= 352
    assert found["number"] == "".join(digit["predictions"][0]["class"] for digit in (left, right))
    assert found["predictions"] == left["predictions"] and found["inverted"], "the largest one's"
    assert predict.main([str(path), str(two_digits)]) == 0
    said = capsys.readouterr().out
    assert "2 digits" in said and "at {}-{}, {}-{}".format(*(right["box"][k] for k in (0, 2, 1, 3))) in said
    assert predict.main([str(path), str(two_digits), "--json", "--single"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["images"]
    assert [digit["box"] for digit in found["digits"]] == [left["box"]]


def test_what_the_model_saw_is_shown_beside_the_picture(models, two_digits, tmp_path, capsys):
    path, _ = models
    assert predict.main([str(path), str(two_digits), "--show", str(tmp_path / "shown.png")]) == 0
    with Image.open(tmp_path / "shown.png") as sheet:
        pixels = np.asarray(sheet.convert("L"))
    assert pixels[:112, 312:424].min() == 0 and pixels[:112, 436:548].min() == 0, "both digits on black"
    assert len(pixels) == 186, "as high as the picture, 420 x 260 shrunk to a width of 300"
    with pytest.raises(UserError, match=r"\.png or \.jpg"):
        predict.main([str(path), str(two_digits), "--show", str(tmp_path / "shown.txt")])


@pytest.mark.parametrize("suffix", [".h5", ".onnx", ".tflite"])
def test_every_kind_of_model_gives_the_three_likeliest_classes(suffix, models, digit, tmp_path, capsys, request):
    if suffix != ".h5":
        request.getfixturevalue(f"{suffix[1:]}_file")
    path, about = models
    Image.fromarray(digit).save(tmp_path / "a.png")
    assert predict.main([str(path.with_suffix(suffix)), str(tmp_path / "a.png"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["images"]
    expected = saved_model.predict(saved_model.load(path), digit[None, ..., None])[0]
    best = np.argsort(-expected)[:3]
    assert [one["class"] for one in found["predictions"]] == [about["class_names"][k] for k in best]
    assert [one["probability"] for one in found["predictions"]] == pytest.approx(list(expected[best]), abs=1e-4)
    assert predict.main([str(path.with_suffix(suffix)), str(tmp_path / "a.png")]) == 0
    table = capsys.readouterr().out
    assert about["class_names"][best[0]] in table and f"{expected[best[0]]:.1%}" in table and "a.png" in table


def start(*arguments, folder):
    """predict.py as a process that then says on its last line which heavy packages it has imported."""
    code = (
        "import sys, runpy; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        f"finally: print('imported:', *sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-c", code, str(PROJECT / "predict.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_an_exported_model_answers_without_tensorflow_and_quietly(suffix, digit, tmp_path, request):
    Image.fromarray(digit).save(tmp_path / "a.png")
    done = start(request.getfixturevalue(f"{suffix}_file"), "a.png", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "imported:", "an exported model needs none of these"


def test_a_saved_model_is_answered_by_its_own_export_without_tensorflow(onnx_file, models, digit, tmp_path):
    path, _ = models
    for file in (path, onnx_file):
        shutil.copy(file, tmp_path)
    Image.fromarray(digit).save(tmp_path / "a.png")
    by_export = start("model.onnx", "a.png", folder=tmp_path)
    done = start("model.h5", "a.png", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, by_export.stdout), "which imports none of the heavy packages"
    (line,) = done.stderr.splitlines()
    assert "export" in line and "model.h5" in line


def test_a_broken_picture_is_named_and_the_others_are_answered(onnx_file, digit, tmp_path):
    (tmp_path / "folder").mkdir()
    for name in ("another.png", "good.PNG"):
        Image.fromarray(digit).save(tmp_path / "folder" / name)
    (tmp_path / "folder" / "broken.png").write_bytes((tmp_path / "folder" / "good.PNG").read_bytes()[:60])
    (tmp_path / "folder" / "notes.txt").write_text("no picture")
    done = start(onnx_file, "folder", folder=tmp_path)
    assert done.returncode == 1 and "notes" not in done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["picture", "another.png", "good.PNG", "imported:"]
    assert len(done.stderr.splitlines()) == 1 and "broken.png" in done.stderr


def test_an_export_of_an_earlier_model_answers_with_a_warning(onnx_file, models, digit, tmp_path):
    path, _ = models
    shutil.copy(onnx_file, tmp_path / "model.onnx")
    Image.fromarray(digit).save(tmp_path / "a.png")
    done = start("model.onnx", "a.png", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    shutil.copy(path, tmp_path / "model.h5")
    answered = start("model.onnx", "a.png", folder=tmp_path)
    assert (answered.stdout, answered.stderr) == (done.stdout, "")
    with open(tmp_path / "model.h5", "ab") as file:
        file.write(b"trained again")
    warned = start("model.onnx", "a.png", folder=tmp_path)
    assert (warned.returncode, warned.stdout) == (0, done.stdout), "and TensorFlow is not imported for it"
    (line,) = warned.stderr.splitlines()
    assert line.startswith("warning: model.onnx") and "run export_model.py again" in line


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
def test_it_ends_quietly_where_nobody_reads_on(onnx_file, digit, tmp_path):
    """As before `| head`: the process finds the pipe closed when it writes."""
    Image.fromarray(digit).save(tmp_path / "a.png")
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, str(PROJECT / "predict.py"), str(onnx_file), "a.png"]
    try:
        done = subprocess.run(command, cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.fixture
def batches(monkeypatch):
    """The number of pictures of each call of a model that finds the classes by the pixels' sum."""
    asked = []

    def answer(images):
        asked.append(len(images))
        sums = images.sum(axis=(1, 2, 3))
        return np.stack([sums, 2 * sums, 3 * sums], axis=1) / 6 / 28**2 / 255

    opened = runtimes.Opened(answer, (28, 28, 1), {"dataset": "own", "class_names": ["a", "b", "c"]})
    monkeypatch.setattr(runtimes, "open_model", lambda path, threads: opened)
    return asked


@pytest.mark.parametrize("kind", ["onnx", "float32"])
def test_an_export_of_another_project_is_refused(kind, models, tmp_path, digits, capsys):
    pytest.importorskip("tf2onnx", reason="optional: pip install -e .[export]")
    pytest.importorskip("ai_edge_litert", reason="optional: pip install -e .[export]")
    foreign = tmp_path / f"theirs{runtimes.SUFFIXES[kind]}"
    export.convert(export.fold_batch_norm(saved_model.load(models[0])), kind, foreign, None)
    Image.fromarray(digits.x_test[0, ..., 0]).save(tmp_path / "digit.png")
    assert exit_code(lambda: predict.main([str(foreign), str(tmp_path / "digit.png")])) == 2
    said = capsys.readouterr()
    assert said.out == "" and "import_model.py" in said.err and len(said.err.splitlines()) == 1


def test_many_pictures_are_one_batch_and_come_in_their_order(batches, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(predict, "BATCH", 4)
    for number in range(10):
        Image.new("L", (28, 28), 20 * number + 5).save(tmp_path / f"{number}.png")
    (tmp_path / "5.png").write_text("broken")
    assert predict.main(["m.onnx", str(tmp_path), "--json"]) == 1
    assert batches == [4, 3, 2]
    said = capsys.readouterr()
    found = json.loads(said.out)["images"]
    kept = [number for number in range(10) if number != 5]
    assert [one["image"] for one in found] == [str(tmp_path / f"{number}.png") for number in kept]
    for number, one in zip(kept, found, strict=True):
        best = one["predictions"][0]
        assert best == {"class": "c", "probability": pytest.approx((20 * number + 5) / 255 / 2)}
    assert "5.png" in said.err and len(said.err.splitlines()) == 1


def test_a_row_names_its_picture_by_the_file_alone_unless_two_have_the_same_name(batches, tmp_path, capsys):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        Image.new("L", (28, 28), 9).save(tmp_path / folder / "same.png")
    Image.new("L", (28, 28), 9).save(tmp_path / "two" / "other.png")
    assert predict.main(["m.onnx", str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    _, *rows = capsys.readouterr().out.splitlines()
    names = [row.split()[0] for row in rows]
    assert names == [str(tmp_path / "one" / "same.png"), "other.png", str(tmp_path / "two" / "same.png")]
    assert len({row.rindex("a") for row in rows}) == 1, "the columns stand below each other"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("{model}", "nowhere.png"), "nowhere.png"),
        (("{model}", "."), "folder without pictures"),
        (("{model}",), "no picture"),
        (("nowhere.onnx", "a.png"), "nowhere.onnx"),
        ((), "MODEL"),
    ],
)
def test_where_nothing_can_be_done_one_line_says_why_and_the_exit_code_is_2(onnx_file, tmp_path, arguments, says):
    done = start(*(argument.format(model=onnx_file) for argument in arguments), folder=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("error: ") and says in done.stderr


def test_help_names_model_and_pictures(capsys):
    with pytest.raises(SystemExit) as end:
        predict.main(["--help"])
    assert end.value.code == 0 and "MODEL" in (said := capsys.readouterr().out) and "PICTURE" in said


def test_a_digit_of_ones_own_is_explained_as_it_is_classified(models, digit, tmp_path, capsys):
    """Dark on light and off the centre, as on paper: gradcam.py sees what predict.py sees."""
    path, _ = models
    paper = np.full((90, 120), 255, np.uint8)
    paper[10:66, 50:106] = 255 - np.kron(digit, np.ones((2, 2), np.uint8))
    Image.fromarray(paper).save(tmp_path / "paper.png")
    assert predict.main([str(path), str(tmp_path / "paper.png"), "--json"]) == 0
    best = json.loads(capsys.readouterr().out)["images"][0]["predictions"][0]
    assert gradcam.main([str(path), str(tmp_path / "paper.png"), "--output-dir", str(tmp_path)]) == 0
    assert f"{best['class']} ({best['probability']:.0%})" in capsys.readouterr().out


def test_the_pictures_of_a_folder_are_explained_too(models, digit, tmp_path, capsys):
    path, _ = models
    (tmp_path / "mine").mkdir()
    for name in ("b.png", "a.png"):
        Image.fromarray(digit).save(tmp_path / "mine" / name)
    assert gradcam.main([str(path), str(tmp_path / "mine"), "--output-dir", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert -1 < said.find("a.png") < said.find("b.png")
