"""Markdown tables on what can be relied on: confidence, corrupted and foreign images, explanations, injected faults."""

from pipeline.console import clock
from pipeline.explain.faithfulness import CONTROLS, REMOVALS
from pipeline.models.saved_model import MODELS
from pipeline.report.markdown import read, read_table, table
from pipeline.train.identity import OUTPUT

# Methods of the short table of faithfulness, as it calls them.
BRIEF = {
    "aggregate": "default: Grad-CAM and expected gradients",
    "grad-cam": "Grad-CAM",
    "gaussian": "*centered Gaussian* (control)",
}


def confidence() -> str:
    """Errors of each model on the test images, and its confidence beside its accuracy."""
    rows = [("model", "errors", "test accuracy (%)", "mean confidence (%)", "expected calibration error")]
    for prefix, model in MODELS.items():
        errors, run = read(f"{prefix}_errors.json"), read(f"{prefix}_metrics.json")
        rows.append(
            (
                f"{model.network}, {model.task}",
                f"{errors['wrong']:,} of {run['n_test']:,}",
                f"{100 * run['test_accuracy']:.2f}",
                f"{100 * errors['mean_confidence']:.2f}",
                f"{errors['expected_calibration_error']:.3f}",
            )
        )
    return table(rows, left=1)


def robustness_in_brief() -> str:
    """Accuracy of each model on clean and on corrupted test images."""
    entries = read("robustness.json")["models"]
    noise = entries[0]["everyday"][0]["kind"]
    rows = [("model", "images", "clean (%)", "all corruptions (%)", f"{noise} (%)", "worst kind (%)")]
    rows[0] += ("calibration error, clean", "all corruptions")
    for entry in entries:
        everyday = {change["kind"]: change["accuracy"] for change in entry["everyday"]}
        rows.append(
            (
                f"{entry['network']}, {entry['dataset']}",
                f"{entry['images']:,}",
                *(f"{100 * part['accuracy']:.1f}" for part in (entry["clean"], entry["mean"])),
                f"{100 * everyday[noise]:.1f}",
                f"{100 * entry['worst']['accuracy']:.1f} ({entry['worst']['kind']})",
                *(f"{part['expected_calibration_error']:.3f}" for part in (entry["clean"], entry["mean"])),
            )
        )
    return table(rows, left=1)


def robustness() -> str:
    """What corrupted images cost each model: accuracy and calibration, and the everyday changes one by one."""
    entries = read("robustness.json")["models"]
    changes = [change["kind"] for change in entries[0]["everyday"]]
    head = ("model", "images", "clean", "corrupted", "worst kind", "calibration error, clean", "corrupted")
    rows = [(*head, *changes)]
    for entry in entries:
        clean, mean, worst = entry["clean"], entry["mean"], entry["worst"]
        rows.append(
            (
                f"{entry['network']}, {entry['dataset']}",
                f"{entry['images']:,}",
                f"{clean['accuracy']:.4f}",
                f"{mean['accuracy']:.4f}",
                f"{worst['accuracy']:.4f} ({worst['kind']})",
                f"{clean['expected_calibration_error']:.3f}",
                f"{mean['expected_calibration_error']:.3f}",
                *(f"{change['accuracy']:.4f}" for change in entry["everyday"]),
            )
        )
    return table(rows, left=1)


def novelty() -> str:
    """What the novelty score recognizes as foreign among the test images of each model, and among others."""
    rows = [("model", "images", "number", "nothing found in", "above 1, of the others")]
    for model in read("novelty.json")["models"]:
        for row in model["test"]:
            (foreign,) = row["foreign"].values()
            missing = str(row["nothing_found"] or "")
            network = MODELS[model["model"]].network
            rows.append((network, row["kind"], f"{row['images'] + row['nothing_found']:,}", missing, f"{foreign:.1%}"))
    return table(rows, left=2)


def novelty_scores() -> str:
    """Novelty scores compared on validation images, each with the same fraction of false alarms."""
    models = read("novelty.json")["models"]
    rows = [("model", "images", *models[0]["validation"][0]["foreign"])]
    for model in models:
        network = MODELS[model["model"]].network
        for row in model["validation"]:
            rows.append((network, row["kind"], *(f"{foreign:.1%}" for foreign in row["foreign"].values())))
    return table(rows, left=2)


def digit_reading() -> str:
    """How digits are read in each kind of picture."""
    rows = [("kind of picture", "pictures", "read right", "no digit found", "wrong", "wrong at 90 % or more")]
    kinds, counts = read("digit_reading.json")["kinds"], ("pictures", "right", "not_found", "wrong", "confident")
    for row in kinds:
        rows.append((row["kind"], *(str(row[key]) for key in counts)))
    rows.append(("all", *(str(sum(row[key] for row in kinds)) for key in counts)))
    return table(rows, left=1)


def faithfulness_in_brief() -> str:
    """The default explanation, Grad-CAM and the strongest control: areas under deletion and insertion."""
    rows = [("model", "method", "deletion, blank", "insertion, blank", "deletion, ROAD", "insertion, ROAD")]
    rows[0] += ("rank correlation with random weights",)
    for row in _best_layers():
        if row["method"] in BRIEF:
            network = MODELS[row["model"]].network
            rows.append((network, BRIEF[row["method"]], *_areas(row), _likeness(row)))
    return table(rows, left=2)


def faithfulness() -> str:
    """How faithful each method is on its best layer, by deletion and insertion, beside the controls."""
    head = ("model", "method, at its best layer", "map", "deletion, blank", "insertion, blank", "deletion, ROAD")
    head += ("insertion, ROAD", "controls it does not beat", "rank correlation with random weights")
    rows = [head]
    for row in _best_layers():
        control = row["method"] in CONTROLS
        layer = f", {row['layer']}" if row["layer"] else ""
        method = f"*{row['method']}* (control)" if control else row["method"] + layer
        unbeaten = "" if control else _unbeaten(row)
        rows.append((row["model"], method, row["map"], *_areas(row), unbeaten, _likeness(row)))
    return table(rows, left=3)


def _best_layers() -> list[dict]:
    """Each model's methods, the most faithful first, each on its most faithful layer."""
    measured = read_table("gradcam_faithfulness.csv")
    measured["score"] = 0.0
    for removal in REMOVALS:
        measured["score"] += measured[f"insertion_area_{removal}"] - measured[f"deletion_area_{removal}"]
    best = measured.sort_values("score", ascending=False, kind="stable").drop_duplicates(["model", "method"])
    return [row for name in measured["model"].unique() for row in best[best["model"] == name].to_dict("records")]


def _areas(row: dict) -> list[str]:
    """Areas under the answer's probability: deletion, insertion, by blanking and by ROAD."""
    return [f"{row[f'{kind}_area_{removal}']:.3f}" for removal in REMOVALS for kind in ("deletion", "insertion")]


def _likeness(row: dict) -> str:
    """Mean rank correlation of the maps with those of random weights; a control has none."""
    alike = row["likeness_100_percent_random"]
    return "" if row["method"] in CONTROLS or alike == "" else f"{float(alike):.2f}"


def _unbeaten(row: dict) -> str:
    """Controls that a method does not beat, and in what: "gaussian (deletion, ROAD)"."""
    found = []
    for control in CONTROLS:
        for removal in REMOVALS:
            beats = row[f"beats_{control}_{removal}"]
            failed = {"no": "both", "in deletion alone": "insertion", "in insertion alone": "deletion"}.get(beats)
            if failed:
                found.append(f"{control} ({failed}, {'ROAD' if removal == 'road' else removal})")
    return ", ".join(found) or "none"


def faults() -> str:
    """What `make faults` did, how often, and what came of it; made from its record, if there is one."""
    if not (OUTPUT / "faults.json").exists():
        return "not run yet"
    record = read("faults.json")
    parts = record["parts"].values()
    rows, done = [("what was done", "how often", "what came of it")], {}
    for entry in (entry for part in parts for entry in part["tried"]):
        counts = done.setdefault(entry["what"], {})  # a short and a long test of the same thing count together
        for name, n in entry["counts"].items():
            extreme = name.startswith(("slowest", "peak", "largest"))
            counts[name] = max(counts.get(name, n), n) if extreme else counts.get(name, 0) + n
    for what, counts in done.items():
        times, *outcomes = (f"{name.replace('_', ' ')}: {n:,}" for name, n in counts.items())
        rows.append((what, times.removeprefix("times: "), ", ".join(outcomes)))
    failed = sum(part["failed"] for part in parts)
    machines = sorted({f"{part['hardware']['cores']} cores ({part['hardware']['processor']})" for part in parts})
    end = f"{failed} tests failed; the whole took {clock(record['wall_seconds'])} on {', '.join(machines)}."
    skipped = sorted({reason for part in parts for reason in part["skipped"]})
    return "\n".join([table(rows, left=3), "", end, *(f"Skipped: {reason}." for reason in skipped)])
