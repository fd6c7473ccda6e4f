"""Recipes of small models, which the tests of training and of the registry share."""

import json

from typer.testing import CliRunner

from flowzoo import cli

RECIPE = {
    "name": "tiny-mnist",
    "description": "A NICE of a few weights, for tests.",
    "class": "NICE",
    "config": {"event_shape": [28, 28, 1], "couplings": 2, "hidden_units": [8]},
    "paper": {
        "title": "NICE",
        "authors": "Dinh et al.",
        "year": 2014,
        "arxiv": "1410.8516",
        "metrics": {"log_likelihood_unit": 1980.5},
    },
    "data": {"name": "mnist", "train": "train", "test": "test", "licence": "CC BY-SA 3.0"},
    "recipe": {
        "seed": 0,
        "validation_examples": 20,
        "epochs": 2,
        "batch_size": 20,
        "warmup_steps": 2,
        "optimizer": {"class_name": "Adam", "config": {"learning_rate": 0.001}},
        "dtype_policy": "float32",
        "jit_compile": False,
    },
    "licence": "Apache-2.0",
    "limits": "None of its samples look like digits.",
}


CONFIGS_OF_VAES = {
    "IAFVAE": {
        "event_shape": [28, 28, 1],
        "latent_size": 4,
        "context_size": 4,
        "hidden_units": [8],
        "hidden_channels": 8,
        "dense_units": 8,
    },
    "FVAE": {
        "event_shape": [28, 28, 1],
        "latent_channels": 4,
        "levels": 1,
        "hidden_channels": 8,
        "steps": 1,
        "flow_channels": 8,
    },
}


def glow_recipe(folder, **recipe):
    """Writes the recipe of a small class-conditional Glow; returns its folder."""
    facts = {
        **RECIPE,
        "class": "Glow",
        "config": {"event_shape": [28, 28, 1], "levels": 1, "steps": 1, "hidden_channels": 4, "classes": 10},
        "data": {**RECIPE["data"], "flip": True},
        "recipe": {**RECIPE["recipe"], **recipe},
    }
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps(facts))
    return folder


def run(*arguments):
    """Runs the command line."""
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
