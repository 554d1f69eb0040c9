"""The plan of the product: every run, study and report that its documents rest on, in an order that can be followed.

To add a run, add a line to runs(); to add a report, one to reports(). Not here: make faults,
benchmarks/explanation_cost.py, and what needs something else beside it (benchmarks/page.py a browser,
benchmarks/peers.py PyTorch, experiments/own_photos.py a folder of photographs).
"""

import csv
import shlex
from pathlib import Path

from experiments import ablation_runs
from pipeline import atomic_io
from plan.tasks import Task

OUTPUT = Path("output")
BOTH = ("cifar100", "mnist")
MODELS = ("collect_results",)  # it brings the models to output/


def run(name: str, command: str, dataset: str, seeds: int = 1, **needs) -> list[Task]:
    """Training runs of one setting with seeds 0, 1, ...; each goes on where it was interrupted."""
    tasks = []
    for seed in range(seeds):
        folder = OUTPUT / "runs" / f"{name}-seed{seed}"
        words = [*shlex.split(command), "--seed", str(seed), "--resume", "--output-dir", str(folder)]
        tasks.append(Task(folder.name, tuple(words), "run", folder, datasets=(dataset,), **needs))
    return tasks


def report(command: str, after: tuple[str, ...] = (), datasets: tuple[str, ...] = BOTH, **more) -> Task:
    """What reads the models in output/, or times this machine."""
    words = tuple(shlex.split(command))
    name = words[1] if words[0] == "-m" else Path(words[0]).with_suffix("").as_posix()
    return Task(name, words, "report", OUTPUT, after=after, datasets=datasets, **more)


def runs(weights: str) -> list[Task]:
    """The training runs; a folder is named as the script would name it."""
    cifar, mnist = "cifar100_cnn.py", "mnist_classification.py"
    resnet50 = f"resnet50_transfer_learning.py --weights {shlex.quote(weights)}"
    return [
        *run("cifar100-fast", f"{cifar} --tta", "cifar100", seeds=3),
        *run("cifar100-sprint", f"{cifar} --recipe sprint", "cifar100", seeds=3),
        *run("custom_cnn-tiny", f"{mnist} --recipe tiny", "mnist", seeds=3),
        *run("custom_cnn-best", f"{mnist} --recipe best", "mnist", seeds=3),
        *run("custom_cnn-default", mnist, "mnist", seeds=5),
        *run("custom_cnn-sprint", f"{mnist} --recipe sprint", "mnist", seeds=5),
        *run("custom_cnn-sprint75", f"{mnist} --recipe sprint75", "mnist", seeds=5),
        *run("custom_cnn-default-ensemble=3", f"{mnist} --ensemble 3", "mnist"),
        *run("cifar100-fast-labels=fine", f"{cifar} --labels fine --tta", "cifar100"),
        *run("cifar100-best", f"{cifar} --recipe best --tta", "cifar100"),
        *run("cifar100-best-labels=fine", f"{cifar} --recipe best --labels fine --tta", "cifar100"),
        *run("cifar100-transformer", f"{cifar} --recipe transformer --tta", "cifar100"),
        *run("cifar100-baseline", f"{cifar} --recipe baseline", "cifar100"),
        *run("resnet50-pretrained", resnet50, "mnist", memory_gb=6),
    ]


def ablation() -> list[Task]:
    """The runs of the ablation study, and the report that makes the table of them."""
    script, folder = "experiments/cifar100_ablation.py", OUTPUT / "runs" / "cifar100_ablation"
    tasks = []
    for variant, seed in ablation_runs.ordered():
        file = ablation_runs.file_of(variant, seed)
        words = (script, variant, "--seed", str(seed), "--output-dir", str(folder))
        needs = {"files": file, "datasets": ("cifar100",), "flawed": True, "group": "cifar100_ablation-*"}
        tasks.append(Task(f"cifar100_ablation-{Path(file).stem}", words, "study", folder, **needs))
    collect = f"{script} --collect {folder.as_posix()}"
    return [*tasks, report(collect, ("cifar100_ablation-*",), datasets=(), flawed=True)]


def studies(weights: str) -> list[Task]:
    """The experiments."""
    transfer = f"experiments/resnet50_transfer.py --weights {shlex.quote(weights)}"
    return [
        *ablation(),
        # It takes rows of the finished ResNet50 run and of the custom CNN from output/.
        report(transfer, MODELS, datasets=("mnist",), memory_gb=6),
        report("experiments/start_from.py", MODELS, datasets=("digits",)),
    ]


def reports() -> list[Task]:
    """What is read off the models, and the speed of this machine."""
    return [
        report("collect_results.py", ("cifar100-*", "custom_cnn-*", "resnet50-*"), datasets=()),
        report("data_overview.py"),
        report("error_analysis.py", MODELS),
        report("export_model.py", MODELS, flawed=True),
        report("model_comparison.py --rounds 5", (*MODELS, "export_model")),
        report("gradcam.py", MODELS),
        report("benchmarks/faithfulness.py", MODELS),
        report("benchmarks/robustness.py", (*MODELS, "export_model")),
        report("benchmarks/novelty.py", MODELS),
        report("benchmarks/digit_reading.py", MODELS, datasets=("mnist",)),
        report("benchmarks/answering.py", (*MODELS, "export_model")),
        report("benchmarks/fast_layers.py", datasets=()),
        report("benchmarks/epoch_account.py"),
        report("benchmarks/input_pipeline.py", datasets=("cifar100",)),
        report("benchmarks/hosts.py", datasets=()),
        report("benchmarks/start_up.py"),
        report("benchmarks/scaling.py", datasets=()),
        report("benchmarks/kernels.py", datasets=()),
    ]


def plan(weights: str = "imagenet") -> list[Task]:
    """All tasks; one comes after those whose results it reads.

    Args:
        weights: of ResNet50, as its script takes them.
    """
    return [*runs(weights), *reports(), *studies(weights), report("-m pipeline.report", ("*",), datasets=())]


def recorded_seconds(folder: Path = OUTPUT) -> dict[str, float]:
    """Task name -> seconds that it took, from the product's result files: those of runs whose folders are gone, too."""
    seconds = {}
    for prefix in ("cifar100", "custom_cnn"):
        path = folder / f"{prefix}_results.json"
        for result in atomic_io.read_json(path)["results"] if path.exists() else []:
            changed = "".join(f"-{name}={value}" for name, value in result["settings"].items())
            for entry in result["runs"]:
                seconds[f"{prefix}-{result['recipe']}{changed}-seed{entry['seed']}"] = whole_seconds(entry)
    resnet50 = folder / "resnet50_metrics.json"
    if resnet50.exists():
        seconds["resnet50-pretrained-seed0"] = whole_seconds(atomic_io.read_json(resnet50))
    table = folder / "cifar100_ablation.csv"
    for row in read_rows(table) if table.exists() else []:
        file = ablation_runs.file_of(row["variant"], int(row["seed"]))
        seconds[f"cifar100_ablation-{Path(file).stem}"] = float(row["seconds"])
    transfer = folder / "resnet50_transfer.csv"
    if transfer.exists():
        rows = read_rows(transfer)
        seconds["experiments/resnet50_transfer"] = sum(float(row["training_seconds"]) for row in rows)
    return seconds


def whole_seconds(metrics: dict) -> float:
    """Wall time of a finished run in seconds, test-time augmentation included."""
    return metrics["wall_seconds"] + metrics.get("tta", {}).get("seconds", 0)


def read_rows(path: Path) -> list[dict]:
    """A CSV file's rows."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
