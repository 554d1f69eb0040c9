"""Model files that were made to do harm, or damaged: refused in one line, or loaded to the same predictions."""

import json
import random
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

import mnist_classification
from pipeline.backend import keras
from pipeline.models import saved_model

layers = keras.layers
SECONDS, MEGABYTES = 30, 2000
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory")


def load_all(paths):
    """What became of each file, loaded in one process with a memory limit; fails where that process dies or warns.

    Returns:
        One dict per file: path, seconds, peak_megabytes of the process, and either refused or predictions.
    """
    command = [sys.executable, str(Path(__file__).with_name("load_models.py")), str(MEGABYTES)]
    done = subprocess.run(
        command, input="\n".join(map(str, paths)), capture_output=True, text=True, timeout=60 + SECONDS * len(paths)
    )
    *said, end = (json.loads(line) for line in done.stdout.splitlines() or ["{}"])
    assert done.returncode == 0, f"died of {paths[len(done.stdout.splitlines())]}: {done.stderr[-2000:]}"
    assert done.stderr == "", "a warning stands before the error's one line"
    assert len(said) == len(paths) and end["suspicious"] == [] and end["peak_megabytes"] < MEGABYTES, end
    assert max(one["seconds"] for one in said) < SECONDS
    return [one | {"peak_megabytes": end["peak_megabytes"]} for one in said]


def cost(found):
    """For the record: the longest time that a file took, and the most memory of a process that loaded some."""
    slowest, largest = max(one["seconds"] for one in found), max(one["peak_megabytes"] for one in found)
    return {"slowest_seconds": round(slowest, 1), "peak_megabytes": int(largest)}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A model as this project saves it."""
    keras.utils.set_random_seed(0)
    model = mnist_classification.build_model(mnist_classification.Config(filters=2))
    path = tmp_path_factory.mktemp("own") / "model.h5"
    about = {"prefix": "custom_cnn", "dataset": "digits", "title": "t", "class_names": list("0123456789")}
    saved_model.save(model, path, image_shape=(28, 28, 1), **about)
    return path


@pytest.fixture(scope="module")
def plain(own):
    """The same as Keras alone would save it: no digest."""
    path = own.with_name("plain.h5")
    path.write_bytes(own.read_bytes())
    with h5py.File(path, "a") as file:
        del file.attrs["sha256"], file.attrs["pipeline"]
    return path


def metadata_positions(path):
    """Places of a file's bytes that are not the numbers of its arrays."""
    numbers = set()

    def note(_, node):
        if isinstance(node, h5py.Dataset) and (start := node.id.get_offset()) is not None:
            numbers.update(range(start, start + node.id.get_storage_size()))

    with h5py.File(path) as file:
        file.visititems(note)
    return [place for place in range(path.stat().st_size) if place not in numbers]


def flipped(path, folder, times, seed):
    """Copies of a file, each with one random bit of its metadata turned."""
    rng, content, places = random.Random(seed), path.read_bytes(), metadata_positions(path)
    for number in range(times):
        damaged = bytearray(content)
        damaged[rng.choice(places)] ^= 1 << rng.randrange(8)
        (folder / f"{number}.h5").write_bytes(damaged)
        yield folder / f"{number}.h5"


def flip_and_load(path, folder, times, processes):
    files = list(flipped(path, folder, times, seed=times))
    with ThreadPoolExecutor(processes) as pool:
        parts = pool.map(load_all, [files[start::processes] for start in range(processes)])
    return [one for part in parts for one in part]


def flips_of_an_own_file(own, folder, tried, times, processes):
    (whole,) = load_all([own])
    found = flip_and_load(own, folder, times, processes)
    refused = [one for one in found if "refused" in one]
    assert all("\n" not in one["refused"] and str(folder) in one["refused"] for one in refused)
    assert {one["predictions"] for one in found if "refused" not in one} <= {whole["predictions"]}
    assert 0 < len(refused) < times
    tried(
        "one random bit of a saved model's metadata flipped",
        times=times,
        refused=len(refused),
        same_predictions=times - len(refused),
        **cost(found),
    )


def test_a_flipped_bit_in_the_metadata_is_refused_or_changes_no_prediction(own, tmp_path, tried):
    flips_of_an_own_file(own, tmp_path, tried, 10, 1)


@pytest.mark.long
def test_many_flipped_bits_in_the_metadata(own, tmp_path, tried):
    flips_of_an_own_file(own, tmp_path, tried, 150, 2)


@pytest.mark.long
def test_flipped_bits_in_a_file_without_a_digest_never_crash(plain, tmp_path, tried):
    found = flip_and_load(plain, tmp_path, 100, 2)
    refused = sum("refused" in one for one in found)
    tried(
        "the same for a file of plain Keras, which has no digest",
        times=100,
        refused=refused,
        loaded=100 - refused,
        **cost(found),
    )


def with_config(plain, path, change):
    """A copy whose architecture was changed by hand."""
    path.write_bytes(plain.read_bytes())
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        change({layer["class_name"]: layer for layer in config["config"]["layers"]})
        del file.attrs["model_config"]
        file.attrs.create("model_config", json.dumps(config))
    return path


def replaced(kind, **names):
    """A change that turns every mention of a layer's class into another."""
    return lambda found: found[kind].update(names)


def widened(found):
    """A change that makes a pooling layer enlarge its images to 10^10 pixels and more instead."""
    layer = found["MaxPooling2D"]
    layer |= {"class_name": "UpSampling2D", "config": {"name": layer["config"]["name"], "size": [40000, 40000]}}


def deprecated(found):
    """A change as Keras 2 wrote it, of which Keras 3 warns in two lines, in a model that is refused later."""
    layer = found["ReLU"]
    layer |= {"class_name": "LeakyReLU", "config": {"name": layer["config"]["name"], "alpha": 0.3}}
    found["Dense"]["config"].update(units=10**9)


def with_dataset(plain, path, change):
    path.write_bytes(plain.read_bytes())
    with h5py.File(path, "a") as file:
        change(file)
    return path


def swap(file, make):
    """Put something else in place of the last layer's kernel."""
    found = []
    file.visit(lambda name: found.append(name) if name.endswith("logits/kernel") else None)
    del file[found[0]]
    make(found[0])


class Bomb:
    """Its pickle creates a file when it is loaded."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


def hostile_files(plain, folder, marker):
    """name -> file. Each is dangerous or damaged in a way of its own."""
    import pickle

    secret = folder / "secret.bin"
    secret.write_bytes(bytes(range(256)) * 64)
    pickled = np.void(pickle.dumps(Bomb(marker)))
    files, touched = {}, str(marker)

    def config(name, change):
        files[name] = with_config(plain, folder / f"{name}.h5", change)

    def content(name, change):
        files[name] = with_dataset(plain, folder / f"{name}.h5", change)

    def model(name, layer):
        pixels = keras.Input((28, 28, 1))
        files[name] = folder / f"{name}.h5"
        keras.Model(pixels, layer(pixels)).save(files[name])

    model("lambda", layers.Lambda(lambda x: (open(touched, "w"), x)[1]))  # noqa: SIM115
    model("activation", layers.Dense(2, activation=lambda x: (open(touched, "w"), x)[1]))  # noqa: SIM115
    config("other module", replaced("Dense", module="subprocess", class_name="Popen"))
    config("function", replaced("Dense", module="builtins", class_name="function", config="exec"))
    config("keras function", replaced("Dense", module="keras.utils", class_name="get_file"))
    config("registered", replaced("Dense", registered_name="evil>Dense"))
    config("registered 2", replaced("Dense", registered_name="Evil"))
    config("vocabulary", replaced("Dense", class_name="StringLookup", config={"vocabulary": str(secret)}))
    config("saved model", replaced("Dense", class_name="TFSMLayer", config={"filepath": str(folder)}))
    config("torch", replaced("Dense", class_name="TorchModuleWrapper", config={"module": "x"}))
    config("initializer", lambda found: found["Dense"]["config"].update(kernel_initializer={"class_name": "eval"}))
    config("units", lambda found: found["Dense"]["config"].update(units=10**9))
    config("filters", lambda found: found["Conv2D"]["config"].update(filters=10**9))
    config("negative", lambda found: found["Dense"]["config"].update(units=-1))
    config("infinite", lambda found: found["Dense"]["config"].update(units=float("inf")))
    config("wide output", widened)
    config("deprecated argument", deprecated)
    content("deep", lambda file: file.attrs.create("model_config", b"[" * 60000))
    content("no object", lambda file: file.attrs.create("model_config", "[1, 2]"))
    content("pickle as config", lambda file: file.attrs.create("model_config", pickled))
    content("pickle beside", lambda file: file.attrs.create("optimizer", pickled))
    content("pickle as names", lambda file: file["model_weights"].attrs.create("layer_names", pickled))
    content("external link", lambda file: swap(file, lambda n: file.__setitem__(n, h5py.ExternalLink(plain, "/"))))
    content("soft link", lambda file: file.__setitem__("again", h5py.SoftLink("/model_weights")))
    content("circle", lambda file: file["model_weights"].__setitem__("again", file["/"]))

    def external(file):
        swap(file, lambda n: file.create_dataset(n, (8, 10), "f4", external=[(str(secret), 0, 320)]))

    def virtual(file):
        layout = h5py.VirtualLayout((8, 10), "f4")
        layout[:] = h5py.VirtualSource(str(plain), "x", (8, 10))
        swap(file, lambda n: file.create_virtual_dataset(n, layout))

    def gigabytes(file):
        swap(file, lambda n: file.create_dataset(n, (10**5, 10**5), "f4", chunks=(1000, 1000), compression="gzip"))

    for name, change in (("external numbers", external), ("virtual numbers", virtual), ("40 GB of zeros", gigabytes)):
        content(name, change)
    for kept in (0, 8, 100, 2000, 20000, 50000, plain.stat().st_size - 1):
        files[f"cut at {kept}"] = folder / f"cut{kept}.h5"
        files[f"cut at {kept}"].write_bytes(plain.read_bytes()[:kept])
    files["keras"] = folder / "archive.keras"
    with zipfile.ZipFile(files["keras"], "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Lambda", "module": "keras.layers", "config": {}}))
        archive.writestr("model.weights.h5", pickle.dumps(Bomb(marker)))
    files["keras called h5"] = folder / "archive.h5"
    files["keras called h5"].write_bytes(files["keras"].read_bytes())
    files["pickle"] = folder / "pickle.h5"
    files["pickle"].write_bytes(pickle.dumps(Bomb(marker)))
    files["folder"] = folder
    files["missing"] = folder / "nowhere.h5"
    return files


def test_hostile_model_files_are_refused_and_no_code_in_them_runs(plain, tmp_path, tried):
    marker = tmp_path / "code ran"
    files = hostile_files(plain, tmp_path, marker)
    marker.unlink(missing_ok=True)  # building a Lambda layer runs it once
    whole, *others = load_all([plain, *files.values()])
    assert "predictions" in whole
    found = dict(zip(files, others, strict=True))
    loaded = [name for name, one in found.items() if "refused" not in one]
    assert loaded == [] and not marker.exists()
    assert all("\n" not in one["refused"] and str(tmp_path) in one["refused"] for one in found.values())
    assert "Lambda" in found["lambda"]["refused"] and "Popen" in found["other module"]["refused"]
    assert "more weights than it holds" in found["units"]["refused"]
    assert "more weights than it holds" in found["deprecated argument"]["refused"]
    assert "output too large" in found["wide output"]["refused"]
    what = "a model file made to run code, read other files or take all memory, or cut short"
    tried(what, times=len(files), refused=len(files) - len(loaded), **cost(others))
