"""What is made of `model.json` for tables and hubs."""

import csv
import io
import pathlib

import pytest

import flowzoo
from flowzoo.registry import results
from flowzoo.registry.folder import read_model_file
from flowzoo.registry.metadata import evaluation_results, front_matter

PRETRAINED = pathlib.Path(__file__).parents[1] / "pretrained"
FACTS = {
    "name": "tiny",
    "class": "Glow",
    "config": {"event_shape": [28, 28, 1]},
    "licence": "Apache-2.0",
    "data": {"name": "mnist"},
    "paper": {"metrics": {"bits_per_dim": 1.06}, "metrics_of": "RealNVP"},
    "parameters": 1000,
    "weights": {"bytes": 2000},
    "training": {
        "seconds": 1800,
        "examples_per_second": 50.5,
        "hardware": "2 CPU cores (x86_64)",
        "flops": 1.234567e15,
    },
    "metrics": {
        "split": "test",
        "examples": 5,
        "importance_samples": 8,
        "bits_per_dim": 1.0714,
        "log_likelihood_pixels": -582.25,
        "bits_per_dim_estimate": 1.0655,
    },
}


def rows(facts):
    return {row["metric"]: row for row in csv.DictReader(io.StringIO(results.table([facts])))}


def test_the_table_tells_bounds_from_estimates_and_has_what_training_cost():
    found = rows(FACTS)
    assert {key: row["kind"] for key, row in found.items()} == {
        "bits_per_dim": "bound",
        "bits_per_dim_estimate": "estimate",
        "log_likelihood_pixels": "bound",
    }
    row = found["bits_per_dim"]
    assert (row["value"], row["paper"], row["paper_of"]) == ("1.0714", "1.06", "RealNVP")
    assert (row["training_core_hours"], row["training_flops"]) == ("1.00", "1.23e+15")
    assert row["inference_examples_per_second"] == ""
    gpu = {**FACTS, "training": {**FACTS["training"], "hardware": "NVIDIA H200"}}
    assert rows(gpu)["bits_per_dim"]["training_core_hours"] == ""
    vae = {**FACTS, "metrics": {"importance_samples": 8, "elbo": -87.0, "log_likelihood": -84.0}}
    assert {key: row["kind"] for key, row in rows(vae).items()} == {
        "elbo": "bound",
        "log_likelihood": "estimate",
    }
    points = {**FACTS, "metrics": {"log_likelihood": -1.8, "entropy": 1.8}}
    assert {key: row["kind"] for key, row in rows(points).items()} == {"log_likelihood": "exact"}
    assert "| 1.071 bits/dim (bound; estimate 1.065 bits/dim) | 1.060 bits/dim (RealNVP) |" in results.row(
        FACTS
    )


@pytest.mark.skipif(not PRETRAINED.is_dir(), reason="the checkout's pretrained models are not here")
def test_the_shipped_table_is_that_of_the_models():
    every = [read_model_file(path.parent) for path in sorted(PRETRAINED.glob("*/model.json"))]
    expected = results.table([facts for facts in every if "weights" in facts])
    assert (PRETRAINED / "results.csv").read_text(encoding="utf-8") == expected


def test_hubs_read_the_front_matter():
    huggingface_hub = pytest.importorskip("huggingface_hub")
    data = huggingface_hub.ModelCard(front_matter(FACTS) + "# tiny").data
    assert (data.library_name, data.license, data.datasets) == ("keras", "apache-2.0", ["ylecun/mnist"])
    assert data.pipeline_tag == "unconditional-image-generation"
    assert {"flowzoo", "glow"} <= set(data.tags)
    facts = {**FACTS, "config": {"event_shape": 2}, "licence": 'Mine: "free"', "data": {"name": "spiral"}}
    data = huggingface_hub.ModelCard(front_matter(facts) + "# tiny").data
    assert (data.license, data.to_dict()["license_name"], data.datasets) == ("other", 'Mine: "free"', None)
    assert data.pipeline_tag is None


def test_hubs_read_the_figures():
    yaml = pytest.importorskip("yaml")
    parse = pytest.importorskip("huggingface_hub").parse_eval_result_entries
    entries = parse(yaml.safe_load(evaluation_results(FACTS, "On `test`: one draw, 8 for the estimate.")))
    assert {entry.task_id: entry.value for entry in entries} == {
        "bits_per_dim": 1.0714,
        "log_likelihood_pixels": -582.25,
        "bits_per_dim_estimate": 1.0655,
    }
    assert {entry.dataset_id for entry in entries} == {"ylecun/mnist"}
    assert {entry.notes for entry in entries} == {"On `test`: one draw, 8 for the estimate."}
    assert evaluation_results({"data": {"name": "spiral"}, "metrics": {"log_likelihood": 1.0}}, "") is None


def test_the_arithmetic_of_dense_layers_is_six_operations_a_weight_and_example():
    from flowzoo.training.arithmetic import training_flops

    if flowzoo.backend.name != "jax":
        assert training_flops({}, 1) is None
        return
    optimizer = {"class_name": "SGD", "config": {"learning_rate": 0.1}}
    facts = {
        "name": "dense",
        "class": "NICE",
        "config": {"event_shape": 64, "couplings": 2, "hidden_units": [128, 128]},
        "recipe": {"epochs": 3, "batch_size": 50, "warmup_steps": 1, "optimizer": optimizer},
    }
    weights = sum(
        w.shape[0] * w.shape[1] for w in flowzoo.NICE(**facts["config"]).weights if len(w.shape) == 2
    )
    # Two forward and four backward; the layers add a little, and save the gradient of the first input.
    assert training_flops(facts, 101) == pytest.approx(3 * 3 * 50 * 6 * weights, rel=0.15)
