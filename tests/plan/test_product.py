"""The product's plan: commands that the scripts understand, in an order that can be followed."""

import importlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import PROJECT

from experiments import cifar100_ablation
from pipeline.config import parse
from pipeline.train import identity
from plan import product, tasks

PLAN = product.plan("some weights.h5")
RUNS = [task for task in PLAN if task.kind == "run"]


def config_of(command):
    script, *flags = command
    return parse(importlib.import_module(script.removesuffix(".py").replace("/", ".")).Config, flags)


def test_every_command_is_one_that_its_script_understands():
    assert len({task.name for task in PLAN}) == len(PLAN) > 40
    for task in PLAN:
        if task.command[0] != "-m":
            assert (PROJECT / task.command[0]).is_file()
            config_of(task.command)


def test_a_task_comes_after_those_whose_results_it_reads_and_every_pattern_names_one():
    names = [task.name for task in PLAN]
    for task in PLAN:
        assert all(names.index(other.name) < names.index(task.name) for other in tasks.needed(task, PLAN))
        for pattern in task.after:
            assert tasks.chosen(PLAN, pattern)


def test_only_reports_read_what_others_wrote():
    assert all(task.kind == "report" for task in PLAN if task.after)


@pytest.mark.parametrize("task", RUNS, ids=lambda task: task.name)
def test_a_run_has_the_folder_that_its_script_would_choose(task):
    flags = list(task.command)
    del flags[flags.index("--output-dir") :]
    config, prefix = config_of(flags), task.name.split("-")[0]
    chosen = identity.output_folder(config, prefix)
    assert config.resume and chosen in (task.folder, identity.OUTPUT)
    if chosen == identity.OUTPUT:
        assert config.seed == 0 or prefix == "resnet50"


def test_times_come_from_the_result_files_by_the_names_of_the_runs():
    seconds = product.recorded_seconds(PROJECT / "output")
    names = {task.name for task in PLAN}
    assert len(names & seconds.keys()) > 10 and all(value > 0 for value in seconds.values())
    metrics = json.loads((PROJECT / "output" / "resnet50_metrics.json").read_text())
    assert seconds["resnet50-pretrained-seed0"] == pytest.approx(metrics["wall_seconds"])


def test_the_ablation_is_a_task_for_each_run_and_one_for_their_table(tmp_path):
    whole = [(name, seed) for name, _, seed in cifar100_ablation.plan(cifar100_ablation.Config())]
    study = [task for task in PLAN if task.kind == "study"]
    configs = [config_of(task.command) for task in study]
    assert [(*config.variants, config.seed) for config in configs] == whole
    assert len({task.files for task in study}) == len(study) > 30
    table = next(task for task in PLAN if "--collect" in task.command)
    assert tasks.needed(table, PLAN) == study and {Path(config_of(table.command).collect)} == {
        task.folder for task in study
    }
    lines = tasks.table(PLAN, PLAN, tasks.Record(tmp_path / "plan.json")).splitlines()
    assert sum("cifar100_ablation-" in line.split()[0] for line in lines) == 1


def test_no_result_file_is_needed(tmp_path):
    assert product.recorded_seconds(tmp_path) == {}


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_train_hands_the_weights_on():
    command = ["make", "--dry-run", "--old-file=.venv/installed-export", "train", "WEIGHTS=some weights.h5"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert 'train_all.py --weights "some weights.h5"' in done.stdout
