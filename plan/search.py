"""A search among settings: Ray Tune trains them side by side and stops those that fall behind.

Asynchronous successive halving (ASHA; Li et al. 2018, arXiv 1810.05934, algorithm 2) by Ray Tune's ASHAScheduler: after
a ninth and a third of the epochs a trial goes on if its validation accuracy is among the best third of those that came
as far before it. Needs Ray Tune to be imported.
"""

import logging
import os
import tempfile
import time

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from pipeline.errors import UserError
from pipeline.train.interrupt import DeferredSignals
from plan import cluster, node
from plan.tasks import Record, Task, epochs_of, metrics_of

REDUCTION = 3  # of the trials that come to a rung one in so many goes on
ACCURACY = "validation_accuracy"


def rungs(epochs: int) -> tuple[int, int]:
    """The epochs after which trials are compared for the first and for the last time."""
    return max(1, epochs // REDUCTION**2), max(1, epochs // REDUCTION)


class Trial(tune.Trainable):
    """A task as Ray Tune runs it: each step is an epoch of its script; those that were done before are told first.

    Its config: {"trial": {"needs": resources as Ray names them, "job": arguments of plan.node.Job}}.
    """

    @classmethod
    def default_resource_request(cls, config):
        """What Ray Tune asks the cluster for."""
        return tune.PlacementGroupFactory([config["trial"]["needs"]])

    def setup(self, config):
        """Fetch the task's files."""
        self.job = node.Job(coordinator=ray.get_actor(cluster.COORDINATOR), **config["trial"]["job"])
        self.told = 0
        self.begun = self.job.begin()

    def step(self):
        """Validation accuracy after the next epoch; at the end once more, with why the script failed ("" if not)."""
        runs = True
        while len(epochs := epochs_of(self.job.folder)) <= self.told:
            if not runs:
                return self._end(epochs)
            runs = self._goes_on()
        self.told += 1
        return {ACCURACY: float(epochs[self.told - 1]["val_accuracy"])}

    def _goes_on(self) -> bool:
        if self.job.process is None:
            if not self.begun or metrics_of(self.job.folder):
                return False
            self.job.start()
        return self.job.goes_on()

    def _end(self, epochs: list[dict[str, str]]) -> dict:
        process, failure = self.job.process, ""
        try:
            self.job.end()  # now: a trial is done when its files are where the table is made
        except UserError as error:
            failure = str(error)
        if process and process.returncode:
            failure = f"exit code {process.returncode}: {self.job.last}"
        accuracy = float(epochs[-1]["val_accuracy"]) if epochs else float("nan")
        return {ACCURACY: accuracy, "failure": failure, "done": True}

    def cleanup(self):
        """Let the script save its checkpoint and end; Ray Tune calls it where it stops a trial, too."""
        self.job.end()


class Stopper(tune.Stopper):
    """Ends all trials after Ctrl-C or SIGTERM."""

    def __init__(self, deferred: DeferredSignals, coordinator):
        self.deferred, self.coordinator = deferred, coordinator

    def __call__(self, trial_id, result):
        """No trial ends by itself."""
        return False

    def stop_all(self):
        """Whether to end them all."""
        if self.deferred.code:
            ray.get(self.coordinator.stop.remote())
        return self.deferred.code != 0


class Watcher(tune.Callback):
    """Tells what becomes of the trials, and notes which are done.

    Attributes:
        failed: task name -> why it failed.
    """

    def __init__(self, tasks: list[Task], record: Record, deferred: DeferredSignals, coordinator):
        self.tasks = {task.name: task for task in tasks}
        self.record, self.deferred, self.coordinator = record, deferred, coordinator
        self.board, self.failed, self.left, self.shown = cluster.Board(len(tasks)), {}, len(tasks), 0.0

    def on_step_end(self, iteration, trials, **info):
        """Draw the live table, once a second."""
        if time.monotonic() - self.shown >= 1:
            self.shown = time.monotonic()
            self.board.show(ray.get(self.coordinator.state.remote()), self.left, len(self.failed))

    def on_trial_complete(self, iteration, trials, trial, **info):
        """Note a trial that came to its end or was stopped because it fell behind."""
        last = trial.last_result
        if self.deferred.code:
            return
        if last.get("failure"):
            self._fail(trial, last["failure"])
            return
        name = trial.config["trial"]["job"]["name"]
        self.record.add(self.tasks[name], last["time_total_s"])
        self.left -= 1
        outcome = "done" if "failure" in last else f"stopped after epoch {last['training_iteration']}"
        self.board.say(f"{outcome}: {name} (validation accuracy {last[ACCURACY]:.4f})")

    def on_trial_error(self, iteration, trials, trial, **info):
        """Note a trial that could not be saved by starting it again."""
        self._fail(trial, "its node died, or it could not be started there")

    def _fail(self, trial, why: str) -> None:
        name = trial.config["trial"]["job"]["name"]
        self.record.remove(self.tasks[name])  # it may have been stopped before, and have gone on in a larger search
        self.failed[name] = why
        self.left -= 1
        self.board.say(f"failed: {name} ({why})")


def work(tasks: list[Task], record: Record, epochs: int, address: str, storage: str | None) -> dict[str, str]:
    """Do the trials of a search as there is room; those that were done before only tell how good they were.

    Args:
        tasks: all of the search.
        epochs: of a run that is not stopped.
        address, storage: of the cluster, see plan.cluster.connect, whose errors are raised.
    Returns:
        task name -> why it failed, for those that did.
    Raises:
        SystemExit: Ctrl-C or SIGTERM; the scripts have ended then, their checkpoints saved.
    """
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # DeferredSignals takes its place
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the Watcher tells of what fails
    # Those that came furthest are told first, so that what was stopped before falls behind them again.
    tasks = sorted(tasks, key=lambda task: -len(epochs_of(task.folder)))
    first, last = rungs(epochs)
    scheduler = ASHAScheduler(grace_period=first, max_t=last, reduction_factor=REDUCTION, stop_last_trials=False)
    with (
        tempfile.TemporaryDirectory() as folder,
        cluster.connect(tasks, record, address, storage) as there,
        DeferredSignals() as deferred,
    ):
        watcher = Watcher(tasks, record, deferred, there.coordinator)
        tuner = tune.Tuner(
            Trial,
            param_space={"trial": tune.grid_search([_settings(task, there) for task in tasks])},
            tune_config=tune.TuneConfig(metric=ACCURACY, mode="max", scheduler=scheduler),
            run_config=tune.RunConfig(
                storage_path=folder,
                verbose=0,
                callbacks=[watcher],
                stop=Stopper(deferred, there.coordinator),
                failure_config=tune.FailureConfig(max_failures=cluster.RETRIES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # the scripts have their own
            ),
        )
        print(f"{len(tasks)} trials on {len(there.machines)} nodes; logs in {there.logs}", flush=True)
        tuner.fit()
        watcher.board.clear()
    if deferred.code:
        raise SystemExit(deferred.code)
    return watcher.failed


def _settings(task: Task, there: cluster.Cluster) -> dict:
    """What a Trial is told of a task."""
    return {"needs": there.needs(task), "job": there.job(task)}
