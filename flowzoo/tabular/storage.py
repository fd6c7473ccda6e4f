"""A fitted table as one file: a zip of JSON and Keras's own files, without pickle."""

import datetime
import json
import os
import pathlib
import tempfile
import zipfile

import keras
import numpy as np

from flowzoo.tabular.gaussians import Gaussians
from flowzoo.tabular.layout import Layout
from flowzoo.tabular.parts import Discrete, Imputer, Reals
from flowzoo.tabular.schema import Schema

FORMAT = 2
FACTS = "table.json"


def save(table, path):
    """Writes a fitted `TableFlow`.

    Raises: TypeError for categories, or arguments, that JSON does not hold.
    """
    models = {
        "discrete": table.discrete_ and table.discrete_.chain,
        "imputer": table.imputer_ and table.imputer_.chain,
        "reals": table.reals_ and table.reals_.flow,
    }
    arguments = table.get_params()
    flow = arguments["flow"]
    arguments["flow"] = flow if isinstance(flow, str) else getattr(flow, "__name__", "callable")
    arguments["schema"] = schema_to_json(arguments["schema"])
    facts = {
        "format": FORMAT,
        "arguments": arguments,
        "schema": table.schema_.as_dicts(),
        "given": table.given_,
        "form": table.form_,
        "losses": table.losses_,
        "lower": table.reals_ and table.reals_.lower.tolist(),
        "gaussians": table.reals_ and table.reals_.gaussians and table.reals_.gaussians.as_dict(),
    }
    try:
        text = json.dumps(facts, indent=1)
    except TypeError as error:
        raise TypeError(
            f"The table cannot be saved: {error}. Categories, names and arguments must be texts, numbers or "
            "booleans."
        ) from error

    path = pathlib.Path(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".flow") as folder:
        folder = pathlib.Path(folder)
        with zipfile.ZipFile(folder / "table", "w") as archive:
            archive.writestr(FACTS, text)
            for name, model in models.items():
                if model is not None:
                    untrained_copy(model).save(folder / f"{name}.keras")
                    archive.write(folder / f"{name}.keras", f"{name}.keras")
        os.replace(folder / "table", path)


def schema_to_json(schema):
    """A schema, or what is said of columns, whose names may be no texts, and whose bounds may be dates."""
    if isinstance(schema, Schema):
        return schema.as_dicts()
    dates = (datetime.date, datetime.timedelta, np.datetime64, np.timedelta64)
    return schema and {
        "said": [
            [name, {key: str(value) if isinstance(value, dates) else value for key, value in said.items()}]
            for name, said in schema.items()
        ]
    }


def schema_from_json(found):
    return Schema.from_dicts(found) if isinstance(found, list) else found and dict(found["said"])


def untrained_copy(model):
    """The model without its optimizer."""
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    return copy


def load(cls, path):
    """The `TableFlow` of a file.

    Raises: ValueError for a file that holds none.
    """
    try:
        archive = zipfile.ZipFile(path)
        facts = json.loads(archive.read(FACTS))
    except (zipfile.BadZipFile, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} holds no table that TableFlow.save wrote: {error}.") from error
    if facts["format"] != FORMAT:
        raise ValueError(f"{path} is of format {facts['format']}; this flowzoo reads {FORMAT}.")
    arguments = facts["arguments"]
    arguments["schema"] = schema_from_json(arguments["schema"])
    table = cls(**arguments)
    table.schema_ = Schema.from_dicts(facts["schema"])
    table.given_, table.form_, table.losses_ = facts["given"], facts["form"], facts["losses"]
    table.layout_ = Layout(table.schema_, table.given_)
    table.n_features_in_ = len(table.schema_.columns)
    if all(isinstance(name, str) for name in table.schema_.names):
        table.feature_names_in_ = np.array(table.schema_.names, dtype=object)
    models = {}
    with archive, tempfile.TemporaryDirectory() as folder:
        for name in ("discrete", "imputer", "reals"):
            if f"{name}.keras" in archive.namelist():
                models[name] = keras.models.load_model(archive.extract(f"{name}.keras", folder))
    layout = table.layout_
    table.discrete_ = Discrete(layout, models["discrete"]) if "discrete" in models else None
    table.imputer_ = Imputer(layout, models["imputer"]) if "imputer" in models else None
    table.reals_ = None
    if "reals" in models:
        gaussians = facts["gaussians"] and Gaussians.from_dict(facts["gaussians"])
        table.reals_ = Reals(layout, models["reals"], np.array(facts["lower"]), gaussians)
    return table
