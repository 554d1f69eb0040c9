"""Markdown tables on what can be relied on: confidence, corrupted and foreign images, explanations, injected faults."""

from pipeline.console import clock
from pipeline.explain.faithfulness import CONTROLS, REMOVALS
from pipeline.models.saved_model import MODELS
from pipeline.report.markdown import read, read_table, table
from pipeline.train.identity import OUTPUT


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
    for row in read("digit_reading.json")["kinds"]:
        rows.append((row["kind"], *(str(row[key]) for key in ("pictures", "right", "not_found", "wrong", "confident"))))
    return table(rows, left=1)


def faithfulness() -> str:
    """How faithful each method is on its best layer, by deletion and insertion, beside the controls."""
    measured = read_table("gradcam_faithfulness.csv")
    head = ("model", "method, at its best layer", "map", "deletion, blank", "insertion, blank", "deletion, ROAD")
    head += ("insertion, ROAD", "controls it does not beat", "rank correlation with random weights")
    rows = [head]
    measured["score"] = 0.0
    for removal in REMOVALS:
        measured["score"] += measured[f"insertion_area_{removal}"] - measured[f"deletion_area_{removal}"]
    best = measured.sort_values("score", ascending=False, kind="stable").drop_duplicates(["model", "method"])
    for name in measured["model"].unique():
        for row in best[best["model"] == name].to_dict("records"):
            control = row["method"] in CONTROLS
            layer = f", {row['layer']}" if row["layer"] else ""
            alike = row["likeness_100_percent_random"]
            rows.append(
                (
                    name,
                    f"*{row['method']}* (control)" if control else row["method"] + layer,
                    row["map"],
                    f"{row['deletion_area_blank']:.3f}",
                    f"{row['insertion_area_blank']:.3f}",
                    f"{row['deletion_area_road']:.3f}",
                    f"{row['insertion_area_road']:.3f}",
                    "" if control else _unbeaten(row),
                    "" if control or alike == "" else f"{float(alike):.2f}",
                )
            )
    return table(rows, left=3)


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
    rows, done = [("what was done", "how often", "what came of it")], {}
    for entry in record["tried"]:
        counts = done.setdefault(entry["what"], {})  # a short and a long test of the same thing count together
        for name, n in entry["counts"].items():
            extreme = name.startswith(("slowest", "peak", "largest"))
            counts[name] = max(counts.get(name, n), n) if extreme else counts.get(name, 0) + n
    for what, counts in done.items():
        times, *outcomes = (f"{name.replace('_', ' ')}: {n:,}" for name, n in counts.items())
        rows.append((what, times.removeprefix("times: "), ", ".join(outcomes)))
    where = f"{record['hardware']['cores']} cores ({record['hardware']['processor']})"
    end = f"{record['failed']} tests failed; {clock(record['seconds'])} on {where}."
    return "\n".join([table(rows, left=3), "", end, *(f"Skipped: {reason}." for reason in record["skipped"])])
