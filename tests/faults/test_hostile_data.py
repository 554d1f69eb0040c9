"""Archives, arrays and pictures that were made to do harm, or damaged: one line each, nothing written, no code run."""

import ast
import dataclasses
import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT
from PIL import Image

from pipeline.data import datasets, pictures, plain_pickle, registry, sources
from pipeline.errors import UserError

NAME = "cifar-100-binary.tar.gz"


def tar(path, *members):
    """A gzipped archive of (name, content) or (name, type, link target)."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, *rest in members:
            info = tarfile.TarInfo(name)
            if len(rest) == 2:
                info.type, info.linkname = rest
                archive.addfile(info)
            else:
                info.size = len(rest[0])
                archive.addfile(info, io.BytesIO(rest[0]))


def ten_gigabytes(path):
    """An archive whose first member is 10 GB of zeros: gzip streams may be strung together, so it takes a moment."""
    header = tarfile.TarInfo("cifar-100-binary/train.bin")
    header.size = 10 * 10**9
    part = gzip.compress(bytes(10**8), 1)
    with open(path, "wb") as file:
        file.write(gzip.compress(header.tobuf()))
        for _ in range(100):
            file.write(part)


ARCHIVES = {
    "a path that climbs out": lambda path: tar(path, ("../climbed", b"x"), ("/tmp/../climbed", b"x")),
    "a link to a file": lambda path: tar(path, ("cifar-100-binary/train.bin", tarfile.SYMTYPE, "/etc/passwd")),
    "a hard link": lambda path: tar(path, ("cifar-100-binary/train.bin", tarfile.LNKTYPE, "../../etc/passwd")),
    "a link to itself": lambda path: tar(path, ("cifar-100-binary/train.bin", tarfile.SYMTYPE, "train.bin")),
    "a device": lambda path: tar(path, ("cifar-100-binary/train.bin", tarfile.CHRTYPE, "")),
    "a folder": lambda path: tar(path, ("cifar-100-binary/train.bin", tarfile.DIRTYPE, "")),
    "a member of 10 GB": ten_gigabytes,
    "nothing": lambda path: tar(path),
    "no bytes": lambda path: path.write_bytes(b""),
    "gzip cut short": lambda path: path.write_bytes(gzip.compress(os.urandom(10**5))[:50000]),
    "gzip with a wrong sum": lambda path: path.write_bytes(gzip.compress(bytes(10240))[:-8] + bytes(8)),
    "another format": lambda path: path.write_bytes(pickle.dumps({"train": 1})),
}


def test_hostile_archives_are_refused_in_one_line_and_nothing_is_unpacked(tmp_path, tried):
    for number, (what, make) in enumerate(ARCHIVES.items()):
        folder = tmp_path / str(number) / "in"
        folder.mkdir(parents=True)
        make(folder / NAME)
        with pytest.raises(UserError, match=r"cifar-100-binary\.tar\.gz") as refused:
            datasets.load("cifar100", str(folder))
        assert "\n" not in str(refused.value), what
        assert [path.name for path in folder.parent.rglob("*")] == ["in", NAME], what
    tried("a hostile or damaged archive", times=len(ARCHIVES), refused=len(ARCHIVES))


class Bomb:
    """Its pickle creates a file when it is loaded."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


def huge_header():
    """An .npy member that declares 10^11 numbers and has none."""
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "|u1", "fortran_order": False, "shape": (10**11,)})
    return content.getvalue()


def test_hostile_arrays_are_refused_in_one_line_and_no_pickle_is_loaded(tmp_path, monkeypatch, tried):
    images, labels = np.zeros((60000, 28, 28), np.uint8), np.arange(60000, dtype=np.uint8) % 10
    whole = {"x_train": images, "y_train": labels, "x_test": images[:10000], "y_test": labels[:10000]}
    marker, path = tmp_path / "code ran", tmp_path / "mnist.npz"
    bombs = np.array([Bomb(marker)], object)
    changes = {
        "wrong shape": {"x_train": images.reshape(60000, 784)},
        "one image short": {"x_train": images[1:]},
        "floats with NaN": {"x_train": np.full((60000, 28, 28), np.nan, np.float16)},
        "negative pixels": {"x_test": np.full((10000, 28, 28), -1, np.int8)},
        "empty": dict.fromkeys(whole, np.zeros(0, np.uint8)),
        "empty images": {"x_train": images[:0], "y_train": labels[:0]},
        "too few labels": {"y_train": labels[1:]},
        "label 10": {"y_train": labels + 1},
        "label one half": {"y_test": np.full(10000, 0.5)},
        "label -1": {"y_test": np.full(10000, -1)},
        "texts": {"y_test": np.full(10000, "7")},
        "pickles as labels": {"y_train": bombs},
        "pickles as images": {"x_train": bombs},
        "records": {"y_train": np.zeros(60000, "i4,i4")},
    }
    monkeypatch.setattr(sources, "sha256", lambda _: "")
    unknown = dataclasses.replace(registry.SOURCES["mnist"], sha256="", first_labels=())
    monkeypatch.setitem(registry.SOURCES, "mnist", unknown)  # so that the fault itself is refused
    for what, change in changes.items():
        np.savez(path, **{**whole, **change})
        with pytest.raises(UserError, match=r"mnist\.npz") as refused:
            datasets.load("mnist", str(tmp_path))
        assert "\n" not in str(refused.value), what
    damaged = {
        "a pickle": pickle.dumps(Bomb(marker)),
        "a pickle as .npy": b"\x93NUMPY\x01\x00" + pickle.dumps(Bomb(marker)),
        "no bytes": b"",
    }
    for content in damaged.values():
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"mnist\.npz"):
            datasets.load("mnist", str(tmp_path))
    with zipfile.ZipFile(path, "w") as archive:
        for name in whole:
            archive.writestr(f"{name}.npy", huge_header())
    with pytest.raises(UserError, match=r"mnist\.npz"):
        datasets.load("mnist", str(tmp_path))
    assert not marker.exists()
    times = len(changes) + len(damaged) + 1
    tried("a hostile or damaged mnist.npz", times=times, refused=times)


HOSTILE_PICKLES = {
    "a call": b"cos\nsystem\n(S'echo'\ntR.",
    "an eval": b"cbuiltins\neval\n(S'1'\ntR.",
    "a name by the stack": pickle.dumps({"data": os.system}, 4),
    "a bomb": pickle.dumps({"data": Bomb("code ran")}, 2),
    "numpy's own loads": b"cnumpy\nload\n(S'x'\ntR.",
    "a dotted name": b"cnumpy\nrandom.seed\n(I1\ntR.",
    "an old instance": b"(ios\nsystem\n.",
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent name": b"Pname\n.",
    "a memo of two thousand million": b"\x80\x02}r\xff\xff\xff\x7f.",
    "an array of objects": b"\x80\x02cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R.",
    "an array larger than its bytes": (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01J\xff\xff\xff\x7f\x85"
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R\x89U\x01xtb."
    ),
    "a list": pickle.dumps([1], 2),
    "cut short": pickle.dumps({"data": 1}, 2)[:-3],
    "no bytes": b"",
    "text": b"not found",
}


def test_hostile_pickles_of_cifar_are_refused_in_one_line_and_run_nothing(tmp_path, monkeypatch, tried):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    (folder / "test").write_bytes(b"")
    for what, content in HOSTILE_PICKLES.items():
        (folder / "train").write_bytes(content)
        with pytest.raises(UserError, match="train") as refused:
            datasets.load("cifar100", str(tmp_path))
        assert "\n" not in str(refused.value), what
    assert [path.name for path in tmp_path.iterdir()] == ["cifar-100-python"]
    tried("a hostile or damaged pickle", times=len(HOSTILE_PICKLES), refused=len(HOSTILE_PICKLES))


def test_fewer_images_than_classes_are_refused(digits, tried):
    for images, limit in ((digits, 9), (datasets.shrink(digits, 60), None)):
        with pytest.raises(UserError):
            datasets.split(images, 0.1, limit=limit)
    tried("fewer images than classes asked for", times=2, refused=2)


def test_nothing_in_the_project_unpickles():
    for path in PROJECT.rglob("*.py"):
        if {"tests", ".venv"} & set(path.relative_to(PROJECT).parts):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.load":
                assert "allow_pickle=True" not in ast.unparse(node), path
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                imported = {name.name for name in node.names} | {getattr(node, "module", None)}
                allowed = {"pickle"} if path == Path(plain_pickle.__file__) else set()
                assert not {"pickle", "joblib", "dill", "marshal"} & imported - allowed, path


def picture_files(folder):
    """name -> (file, whether it is a picture to be read)."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (60, 50, 3), dtype=np.uint8))
    made = {}

    def save(name, picture, readable=True, **options):
        made[name] = (folder / name, readable)
        picture.save(folder / name, **options)

    def write(name, content, readable=False):
        made[name] = (folder / name, readable)
        (folder / name).write_bytes(content)

    save("whole.png", rgb)
    save("cmyk.jpg", rgb.convert("CMYK"))
    save("palette.gif", rgb.convert("P"))
    save("one_bit.png", rgb.convert("1"))
    save("two_frames.gif", rgb, save_all=True, append_images=[rgb.rotate(90)])
    save("two_frames.png", rgb, save_all=True, append_images=[rgb.rotate(90)])
    save("16bit.png", Image.fromarray(rng.integers(0, 65536, (60, 50), dtype=np.uint16)))
    save("16bit.tif", Image.fromarray(rng.integers(0, 65536, (60, 50), dtype=np.uint16)))
    save("float.tif", Image.fromarray(rng.random((60, 50), dtype=np.float32)))
    save("nan.tif", Image.fromarray(np.full((60, 50), np.nan, np.float32)), readable=False)
    save("4x4.png", rgb.resize((4, 4)))
    save("line.png", rgb.resize((3000, 1)))
    save("see_through.png", Image.new("RGBA", (40, 40)))
    save("20000x20000.png", Image.new("1", (20000, 20000)), readable=False)
    save("10000x9500.png", Image.new("1", (10000, 9500)), readable=False)
    whole = (folder / "whole.png").read_bytes()
    for kept in (4, 30, 60, len(whole) // 2, len(whole) - 40):
        write(f"cut{kept}.png", whole[:kept])
    write("empty.png", b"")
    write("text.png", b"not a picture")
    write("script.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) (w) file\n")
    write("pickle.png", pickle.dumps(Bomb(folder / "code ran")))
    (folder / "folder.png").mkdir()
    made["folder.png"] = (folder / "folder.png", False)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.png")
        made["pipe.png"] = (folder / "pipe.png", False)
    made["missing.png"] = (folder / "missing.png", False)
    return made


READER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from pipeline import system
from pipeline.data import pictures
from pipeline.errors import UserError
for path in json.load(sys.stdin):
    for read in (lambda: pictures.read(path, (32, 32, 3)).shape, lambda: pictures.read_digit(path)[0].shape):
        try:
            print(json.dumps(["read", read()]))
        except UserError as error:
            print(json.dumps(["refused", str(error)]))
print(json.dumps(system.peak_megabytes()))
"""


def test_hostile_and_odd_pictures_are_read_or_refused_in_one_line(tmp_path, tried):
    made = picture_files(tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", READER, str(PROJECT)],
        input=json.dumps([str(path) for path, _ in made.values()]),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    *said, peak = map(json.loads, done.stdout.splitlines())
    assert peak < 2000 and not (tmp_path / "code ran").exists()
    for (name, (_, readable)), color, digit in zip(made.items(), said[::2], said[1::2], strict=True):
        if readable:
            assert color == ["read", [32, 32, 3]], (name, color)
            assert digit[0] == "refused" or digit[1] == [28, 28, 1], (name, digit)
        else:
            assert color[0] == digit[0] == "refused" and name in color[1] and "\n" not in color[1], (name, color)
    read = sum(readable for _, readable in made.values())
    tried("an odd, damaged or enormous picture", times=len(made), read=read, refused=len(made) - read)
    assert pictures.read(Path(tmp_path / "whole.png"), (8, 8, 1)).shape == (8, 8, 1)
