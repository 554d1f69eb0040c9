"""Markdown tables on speed: training, saved models in each runtime, exports and the page."""

from pathlib import Path

from pipeline.models.saved_model import MODELS
from pipeline.report.markdown import read, table
from pipeline.system import lacks_bfloat16

# What of the comparison a reader chooses between.
RUNTIMES = ("Keras predict", "ONNX Runtime", "LiteRT int8")


def comparison_in_brief() -> str:
    """Accuracy, size and speed of the saved models in Keras, in ONNX Runtime, and in int8."""
    rows = [("model", "runtime", "test accuracy (%)", "file (MB)", "one image (ms)", "batch 256: images/s")]
    for entry in read("model_comparison.json")["models"]:
        for timed in entry["runtimes"]:
            if timed["runtime"] in RUNTIMES:
                accuracy, size = f"{100 * timed['test_accuracy']:.2f}", f"{timed['file_megabytes']:.1f}"
                one, many = timed["batches"]["1"]["median_ms"], timed["batches"]["256"]["images_per_second"]
                rows.append((entry["name"], timed["runtime"], accuracy, size, f"{one:.2f}", f"{many:,.0f}"))
    return table(rows, left=2)


def comparison() -> str:
    """Accuracy, speed, size and memory of the saved models in every runtime."""
    result = read("model_comparison.json")
    peaks = dict(result["matrix_peak_gflops"])
    if lacks_bfloat16(result["hardware"]):
        del peaks["bfloat16"]  # an emulated one says nothing about the models, which are in float32
    rows = [
        (
            *("model", "runtime", "test accuracy (95 % interval)", "file (MB)"),
            *("one image: ms (95th percentile)", "one image: speedup"),
            *("batch 32: images/s", "batch 256: images/s", "batch 256: speedup", "peak memory (MB)"),
            *(f"at 256: of the {peak:,.0f} GFLOP/s of {kind} products" for kind, peak in peaks.items()),
        )
    ]
    for entry in result["models"]:
        for timed in entry["runtimes"]:
            one, some, many = (timed["batches"][batch] for batch in ("1", "32", "256"))
            memory = timed["peak_megabytes"]
            rows.append(
                (
                    f"{entry['name']} ({entry['dataset']})",
                    timed["runtime"],
                    f"{timed['test_accuracy']:.4f} ({timed['accuracy_low']:.4f} to {timed['accuracy_high']:.4f})",
                    f"{timed['file_megabytes']:.1f}",
                    f"{one['median_ms']:.2f} ({one['p95_ms']:.2f})",
                    f"{one['speedup']:.1f}",
                    f"{some['images_per_second']:,.0f}",
                    f"{many['images_per_second']:,.0f}",
                    f"{many['speedup']:.1f}",
                    f"{memory:,.0f}" if memory else "unknown",
                    *(f"{many[f'fraction_of_{kind}_peak']:.0%}" for kind in peaks),
                )
            )
    return table(rows, left=2)


def differences() -> str:
    """Which models really differ on the test images, by McNemar's test."""
    rows = [("data", "model A", "model B", "only A right", "only B right", "p (McNemar)")]
    for row in read("model_comparison.json")["differences"]:
        p = "< 0.0001" if row["p_value"] < 1e-4 else f"{row['p_value']:.2g}"
        rows.append((row["dataset"], row["a"], row["b"], str(row["only_a"]), str(row["only_b"]), p))
    return table(rows, left=3)


def exports() -> str:
    """What the check of every export measured, beside Keras."""
    stems = [Path(model.file).stem for model in MODELS.values()]
    checks = [
        (stem, name.replace("_", " "), check)
        for stem in stems
        for name, check in read(f"{stem}_exports.json")["exports"].items()
    ]
    columns = {
        "megabytes": ("file (MB)", ".1f"),
        "agreement": ("same class as Keras", ".1%"),
        "difference": ("largest difference of a probability", ".1g"),
        "accuracy_after": ("test accuracy", ".4f"),
        "accuracy_before": ("Keras", ".4f"),
    }
    shown = [key for key in columns if any(key in check for *_, check in checks)]  # earlier records have no agreement
    rows = [("model", "format", *(columns[key][0] for key in shown), "kept")]
    for stem, name, check in checks:
        cells = ["" if check.get(key) is None else format(check[key], columns[key][1]) for key in shown]
        rows.append((stem, name, *cells, "no" if check["failure"] else "yes"))
    return table(rows, left=2)


def scaling() -> str:
    """What an epoch costs against the number of images, the batch and the cores."""
    result = read("benchmark_scaling.json")
    rows = [("images", "batch", "cores", "seconds an epoch", "images/s", "peak memory (GB)")]
    for row in result["rows"]:
        images, seconds = row["images"], row["epoch_seconds"]
        sizes = (f"{images:,}", f"{row['batch']:,}", str(row["cores"]))
        rows.append((*sizes, f"{seconds:.1f}", f"{images / seconds:,.0f}", f"{row['peak_gigabytes']:.1f}"))
    return table(rows, left=0)


def epoch_account() -> str:
    """Where the time of an epoch goes, per network, image size and arithmetic."""
    head = ("network", "arithmetic", "side", "images/s", "convolutions", "their speed", "BatchNorm, ReLU, pooling")
    head += ("optimizer", "waiting for input", "Keras and Python", "validation, checkpoint", "rest", "sum / epoch")
    grouped = {
        "convolutions": ("convolutions, forward", "convolutions, by data", "convolutions, by weights"),
        "maps": ("BatchNorm", "ReLU", "pooling"),
        "optimizer": ("optimizer",),
        "input": ("waiting for input",),
        "python": ("Keras and Python",),
        "after": ("validation", "checkpoint"),
        "rest": ("casts to and from bfloat16", "other operations"),
    }
    rows = [head]
    for row in read("benchmark_epoch_account.json")["rows"]:
        seconds, whole = row["seconds"], row["seconds_in_all"]
        cells = {name: f"{sum(seconds[part] for part in parts) / whole:.1%}" for name, parts in grouped.items()}
        spent = sum(seconds[part] for part in grouped["convolutions"])
        speed = sum(row["seconds_at_the_matrix_product_rate"].values()) / spent
        rows.append(
            (
                f"`{row['case']}`",
                row["precision"],
                str(row["side"]),
                f"{row['images_per_second']:,.0f}",
                cells["convolutions"],
                f"{speed:.0%}",
                *(cells[name] for name in ("maps", "optimizer", "input", "python", "after", "rest")),
                f"{row['watched_over_unwatched']:.3f}",
            )
        )
    return table(rows, left=2)


def peers() -> str:
    """Training speed beside what people would use instead."""
    rows = [("trained with", "arithmetic", "images/s", "lowest to highest", "this project / it")]
    for row in read("benchmark_peers.json")["rows"]:
        rows.append(
            (
                row["setup"],
                row["precision"],
                f"{row['images_per_second']:,.0f}",
                f"{row['lowest']:,.0f} to {row['highest']:,.0f}",
                f"{row['this_project_over_it']:.2f}",
            )
        )
    return table(rows, left=2)


def step_times() -> str:
    """What a training step takes without what the scripts do to make it short, as a ratio."""
    head = ("arithmetic", "measured by", "`fast`, 24 pixels", "`fast`, 32 pixels", "ResNet50")
    rows = [("a training step", *head), ("as it is", "", "", "1.00", "1.00", "1.00")]
    forms = {
        "with Keras' own convolutions": "fused_batch_norm",
        "with Keras' own batch normalization, too": "stock",
    }
    for precision in ("bfloat16", "float32"):
        cases = read(f"benchmark_fast_layers_{precision}.json")["rows"]
        for name, form in forms.items():
            ratios = [f"{row['over_fast'][form]:.2f}" for row in cases]
            rows.append((name, precision, "`python benchmarks/fast_layers.py`", *ratios))
    kernels = read("benchmark_kernels.json")
    precision = kernels["config"]["precision"]
    if precision == "auto":
        precision = "bfloat16" if kernels["hardware"]["bfloat16"] else "float32"
    without = f"{kernels['without_onednn_over_usual']:.2f}"
    rows.append(("without oneDNN's kernels", precision, "`python benchmarks/kernels.py`", "", without, ""))
    return table(rows, left=3)


def two_hosts() -> str:
    """A run on two hosts of one core beside the same on one of two, and what crosses the network."""
    found = read("benchmark_hosts.json")
    speed = found["images_per_second"]
    rows = [
        ("", "one host of two cores", "two hosts of one core"),
        ("training images/s", f"{speed['1']:,.0f}", f"{speed['2']:,.0f}"),
        ("relative speed", "1.00", f"{found['efficiency']:.2f}"),
        ("sent in a step (MB)", "", f"{found['megabytes_per_step']:.0f}"),
        ("the same by calculation (MB)", "", f"{found['expected_megabytes_per_step']:.0f}"),
    ]
    return table(rows, left=1)


def from_disk() -> str:
    """Training from memory and from a file that is larger than the memory it may use."""
    found = read("benchmark_input_pipeline.json")
    rows = [("image size", "from memory: images/s", "from the file: images/s", "relative speed", "peak memory (GB)")]
    for row in found["rows"]:
        memory, disk = row["pipeline"], row["disk"]
        peak = f"{row['peak_gigabytes']['disk']:.2f}"
        rows.append((f"{row['side']}×{row['side']}", f"{memory:,.0f}", f"{disk:,.0f}", f"{disk / memory:.2f}", peak))
    return table(rows, left=1)


def answering() -> str:
    """How fast saved models answer in each runtime, beside the machine's matrix product."""
    head = ("model", "runtime", "1 image (ms)", "256 images (ms)", "of the float32 matrix product")
    rows = [(*head, "speedup over Keras predict")]
    for model in read("benchmark_answering.json")["models"]:
        for timed in model["runtimes"]:
            one, many = timed["batches"]["1"], timed["batches"]["256"]
            rows.append(
                (
                    model["name"],
                    timed["runtime"],
                    f"{one['median_ms']:.2f}",
                    f"{many['median_ms']:.0f}",
                    f"{many['fraction_of_float32_peak']:.0%}",
                    f"{many['speedup']:.2f}",
                )
            )
    return table(rows, left=2)


def start_up() -> str:
    """Seconds from the command to the first training step, and from the command to an answer."""
    rows = [("from the command to", "seconds (median)")]
    for script, seconds in read("benchmark_start_up.json")["medians"].items():
        rows.append((f"the first step of `{script}.py`", f"{seconds:.1f}"))
    for kind, seconds in read("benchmark_answering.json")["seconds_to_answer"]["medians"].items():
        rows.append((f"the answer of `predict.py`, {kind}", f"{seconds:.2f}"))
    return table(rows, left=1)


def page() -> str:
    """How long visitors of the page wait for an answer with two heat maps."""
    result = read("benchmark_page.json")
    together = result["together"]
    rows = [("visitors", "wait for an answer (ms)", "")]
    rows.append(("one", "median", f"{result['median_ms']:.0f}"))
    rows.append(("one", "longest", f"{result['slowest_ms']:.0f}"))
    rows.append((f"{together['visitors']} at once", "median", f"{together['median_ms']:.0f}"))
    rows.append((f"{together['visitors']} at once", "95 % wait less than", f"{together['p95_ms']:.0f}"))
    return table(rows, left=2)
