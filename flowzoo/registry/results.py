"""The figures of all models as tables: the rows of `pretrained/results.csv`, and of the README."""

import csv
import io
import re

from flowzoo.registry.card import DATA, SPACES, figure, published

COLUMNS = (
    "samples",
    "name",
    "model",
    "data",
    "parameters",
    "file",
    "measured",
    "paper",
)
CSV_COLUMNS = (
    "name",
    "version",
    "model",
    "data",
    "metric",
    "kind",
    "value",
    "paper",
    "paper_of",
    "parameters",
    "bytes",
    "training_core_hours",
    "training_flops",
    "training_examples_per_second",
    "training_hardware",
    "inference_examples_per_second",
    "inference_hardware",
)


def table(every):
    """The text of `results.csv`: a row for each likelihood of each model, of facts of `model.json` files.

    `kind` is "exact", of a density of real numbers; "bound", of the log-probability of integers by one draw
    of the dequantisation noise, or an ELBO; or "estimate", importance-weighted. `value` and `paper`, the
    figure of the model's own paper or of `paper_of`, are in bits/dim where the metric says so, else in nats.
    What was not measured is empty.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for facts in every:
        writer.writerows(_csv_rows(facts))
    return text.getvalue()


def _csv_rows(facts):
    training, speed = facts["training"], facts.get("speed", {})
    of_model = {
        "name": facts["name"],
        "version": facts.get("version", 1),
        "model": facts["class"],
        "data": _data(facts),
        "parameters": facts["parameters"],
        "bytes": facts["weights"]["bytes"],
        "training_core_hours": _core_hours(training),
        "training_flops": f"{training['flops']:.3g}" if "flops" in training else "",
        "training_examples_per_second": training["examples_per_second"],
        "training_hardware": training["hardware"],
        "inference_examples_per_second": speed.get("examples_per_second", ""),
        "inference_hardware": speed.get("hardware", ""),
    }
    metrics, paper = facts["metrics"], facts.get("paper", {})
    figures = paper.get("metrics", {})
    return [
        {
            **of_model,
            "metric": key,
            "kind": _kind(key, facts),
            "value": f"{metrics[key]:.4f}",
            "paper": figures.get(key, ""),
            "paper_of": paper.get("metrics_of", "") if key in figures else "",
        }
        for key in SPACES
        if key in metrics and key not in ("entropy", "psnr")
    ]


def _kind(key, facts):
    metrics = facts["metrics"]
    if key == "bits_per_dim_estimate" or ("elbo" in metrics and key != "elbo"):
        return "estimate"
    return "bound" if key == "elbo" or "bits_per_dim" in metrics else "exact"


def _core_hours(training):
    cores = re.match(r"(\d+) CPU cores? ", training["hardware"])
    return f"{int(cores[1]) * training['seconds'] / 3600:.2f}" if cores else ""


def row(facts):
    """The model's row in the table of the project's README, whose columns are `COLUMNS`."""
    name, paper = facts["name"], facts.get("paper", {})
    metrics, of_paper = facts["metrics"], paper.get("metrics", {})
    key = next((key for key in SPACES if key in metrics and key in of_paper), None)
    key = key or next(key for key in ("bits_per_dim", *SPACES) if key in metrics)
    cells = (
        f'<img src="pretrained/{name}/samples.png" width="160" alt="samples">',
        f"[`{name}`](pretrained/{name})",
        facts["class"],
        _data(facts),
        f"{facts['parameters'] / 1e6:.2g} M",
        f"{facts['weights']['bytes'] / 1e6:.2g} MB",
        _measured(key, metrics),
        published(key, paper),
    )
    return f"| {' | '.join(cells)} |"


def _data(facts):
    data = facts["data"]
    return ", ".join(filter(None, [DATA.get(data["name"], data["name"]), data.get("note")]))


def _measured(key, metrics):
    remark = SPACES[key].partition(", ")[2]
    if "bits_per_dim_estimate" in metrics:
        remark = f"bound; estimate {figure('bits_per_dim', metrics['bits_per_dim_estimate'])}"
    elif "importance_samples" in metrics:
        remark = "importance-weighted"
    if "entropy" in metrics:
        remark = f"entropy {figure('entropy', metrics['entropy'])}"
    return figure(key, metrics[key]) + (f" ({remark})" if remark else "")
