"""The command line, `flowzoo --help`: models listed, sampled, explored, measured, trained, published."""

import os
import pathlib
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

app = typer.Typer(
    help="Pretrained normalizing flows for Keras 3.", no_args_is_help=True, pretty_exceptions_enable=False
)
console = Console(markup=False)  # names and paths may have brackets

Name = Annotated[
    str, typer.Argument(help="A model of `flowzoo list`, or a folder with a model.json, such as ./mine.")
]
DataDir = Annotated[str | None, typer.Option(help="TFDS data folder; by default TFDS's own.")]
DataFile = Annotated[
    pathlib.Path | None,
    typer.Option("--data", help="A file of `flowzoo data`, to read instead of TFDS.", dir_okay=False),
]


@app.command("list")
def list_command():
    """Show the pretrained models."""
    from flowzoo.registry.card import headline
    from flowzoo.registry.index import info, list_models

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("name", "ver", "model", "data", "params", "metric", "size", "cached"):
        right = heading in ("ver", "params", "metric", "size")
        table.add_column(heading, no_wrap=True, justify="right" if right else "left")
    for name in list_models():
        facts = info(name)
        weights = facts.get("weights")
        table.add_row(
            name,
            str(facts.get("version", 1)) if weights else "–",
            facts["class"],
            str(facts.get("data", {}).get("name", "–")),
            _millions(facts["parameters"], "M") if isinstance(facts.get("parameters"), int) else "–",
            headline(facts) if weights else "not trained",
            _millions(weights["bytes"], "MB") if weights else "–",
            _stored(facts) if weights else "–",
        )
    console.print(table)


def _millions(number, unit):
    """Such as "0.45 M", "3.1 MB" and "38 MB", which are short enough for the table."""
    millions = number / 1e6
    return f"{millions:.{2 if millions < 1 else 1 if millions < 10 else 0}f} {unit}"


def _stored(facts):
    """Where the weights lie on this machine, unchecked."""
    from flowzoo.registry import sources
    from flowzoo.registry.download import cache_path

    places = (
        ("hub", sources.hub()),
        ("checkout", sources.checkout()),
        ("package", sources.packaged()),
        ("checkout", sources.installed_from()),
    )
    for where, place in places:
        file = facts["weights"]["file"]
        if isinstance(place, pathlib.Path) and (place / facts["name"] / file).is_file():
            return where
    return "yes" if cache_path(facts).is_file() else "no"


@app.command()
def info(name: Name):
    """Show what the model card knows."""
    from flowzoo.registry.index import info as read

    facts = read(name)
    if "directions" in facts:
        facts["directions"] = sorted(facts["directions"])  # the numbers are many
    console.print_json(data=facts)


@app.command()
def sample(
    name: Name,
    n: Annotated[int, typer.Option("-n", help="Number of samples.", min=1)] = 16,
    temperature: Annotated[float, typer.Option(help="Under 1, likelier samples.", min=0.0)] = 1.0,
    seed: Annotated[int | None, typer.Option(help="Draws the same samples again.")] = None,
    label: Annotated[
        int | None, typer.Option(help="Class to draw, of a class-conditional model; by default all in turn.")
    ] = None,
    out: Annotated[pathlib.Path, typer.Option(help="The PNG to write.")] = pathlib.Path("samples.png"),
):
    """Draw samples into a picture."""
    if out.suffix.lower() != ".png":
        raise ValueError(f"--out must name a .png file; got {out}.")
    if not out.parent.is_dir():
        raise ValueError(f"--out lies in the folder {out.parent}, which does not exist.")
    _fetch(name)
    with _working(f"Loading {name}") as status:
        from flowzoo import plots, registry

        flow = registry.load(name)
        status.update(f"Drawing {n} samples")
        if label is None and flow.classes:
            label = [i % flow.classes for i in range(n)]
        plots.samples(flow, flow.sample(n, label, temperature=temperature, seed=seed), out, scale=4)
    console.print(f"{n} samples of {name} are in {out}", soft_wrap=True)


@app.command()
def explore(
    name: Annotated[
        str | None, typer.Argument(help="The model to show first; others are a click away.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="By default 8246, or any free one.", min=0, max=65535)
    ] = None,
    browser: Annotated[bool, typer.Option(help="Whether to open the page.")] = True,
):
    """Draw, walk, bend and measure on a page in the browser, served by this machine for itself."""
    from flowzoo.explore import serve

    def tell(words):
        console.print(words, soft_wrap=True, highlight=False)

    serve(name, host=host, port=port, browser=browser, tell=tell)


@app.command()
def evaluate(name: Name, data_dir: DataDir = None, data: DataFile = None):
    """Measure a model on its test data again, beside its card's figures."""
    from rich.progress import Progress

    _fetch(name)
    with Progress(console=console) as progress:
        task = progress.add_task(escape(f"Evaluating {name}"), total=None)
        from flowzoo.registry.index import info as read
        from flowzoo.training import evaluate_pretrained

        card = read(name).get("metrics", {})
        measured = evaluate_pretrained(
            name,
            data_dir=data_dir,
            data_file=data,
            progress=lambda done: progress.update(task, completed=done, total=card.get("examples")),
        )
    table = Table("figure", "measured", "card")
    for key, value in measured.items():
        table.add_row(key, _figure(value), _figure(card.get(key, "–")))
    console.print(table)


def _figure(value):
    return f"{value:.4f}" if isinstance(value, float) else str(value)


@app.command()
def train(
    name: Name,
    out: Annotated[
        pathlib.Path | None, typer.Option(help="Folder to write the model to; by default ./NAME.")
    ] = None,
    data_dir: DataDir = None,
    data: DataFile = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of the recipe's number.", min=1)] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Instead of the recipe's.", min=0.0)] = None,
    dtype_policy: Annotated[
        str | None,
        typer.Option(help="Such as float32; by default mixed_bfloat16 on a GPU, else the recipe's."),
    ] = None,
    devices: Annotated[
        int | None, typer.Option(help="GPUs of each machine to train on together; by default one.", min=1)
    ] = None,
):
    """Train a model by its recipe, and write weights, card and samples."""
    console.print(f"Training {name}; interrupted, the same command goes on from its last epoch.")
    from flowzoo.registry.card import headline
    from flowzoo.training import train as train_by_recipe

    out = out or pathlib.Path(pathlib.Path(name).name)
    facts = train_by_recipe(
        name,
        out,
        data_dir=data_dir,
        data_file=data,
        epochs=epochs,
        learning_rate=learning_rate,
        dtype_policy=dtype_policy,
        devices=devices,
    )
    if facts is not None:  # of several machines the first has them
        place = out if out.is_absolute() else f"./{out}"  # without the slash it would be one of the zoo
        console.print(f"{facts['name']} is in {place}: {headline(facts)}", soft_wrap=True)


@app.command("data")
def data_command(
    name: Name,
    out: Annotated[pathlib.Path, typer.Option(help="The .npz file to write.")],
    data_dir: DataDir = None,
):
    """Write a model's data as a file, to train and evaluate on machines without TFDS."""
    with _working(f"Writing the data of {name}"):
        from flowzoo.training import write_data

        shapes = write_data(name, out, data_dir=data_dir)
    console.print(f"{out} has {', '.join(f'{key} {shape}' for key, shape in shapes.items())}", soft_wrap=True)


@app.command()
def download(name: Name):
    """Fetch a model's weights for offline use."""
    console.print(f"{name} is in {_fetch(name)}", soft_wrap=True)


def _fetch(name):
    """Where the weights are, downloaded if need be: under their own progress bar, before another runs."""
    from flowzoo.registry.download import find_weights
    from flowzoo.registry.index import look_up

    return find_weights(*look_up(name))


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="A model of `flowzoo list`, or a folder.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every model that has weights.")] = False,
):
    """Hash weights again, and compare the log-density of eight fixed inputs with the stored one."""
    from flowzoo.registry.index import info as read
    from flowzoo.registry.index import list_models

    if (name is None) != every:
        raise ValueError("Give the name of a model, or --all.")
    failed = []
    for each in [model for model in list_models() if "weights" in read(model)] if every else [name]:
        try:
            _fetch(each)
            with _working(f"Verifying {each}"):
                from flowzoo.registry.fingerprint import verify as check

                difference = check(each)
        except ValueError as error:
            failed.append(each)
            console.print(Text.assemble(f"{each}: ", ("failed", "bold red"), f": {error}"), soft_wrap=True)
        else:
            console.print(f"{each}: sha256 right, fingerprint within {difference:.1e}")
    if failed:
        raise ValueError(f"Not verified: {', '.join(failed)}.")


@app.command()
def cache(clear: Annotated[bool, typer.Option("--clear", help="Delete what was downloaded.")] = False):
    """Show the folder that downloads are kept in, or empty it."""
    from flowzoo import fetching

    if clear:
        from flowzoo.registry.download import clear_cache

        console.print(f"Freed {clear_cache() / 1e6:.1f} MB")
    console.print(fetching.cache(), soft_wrap=True)


@app.command()
def publish(
    folder: Annotated[pathlib.Path, typer.Argument(help="The model's folder.")],
    source: Annotated[
        pathlib.Path | None, typer.Option("--from", help="A .keras file whose flow goes into the folder.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="Of stored weights, float16 or float32.")] = None,
):
    """Complete a model's folder (weights, hashes, fingerprint, samples, card) so that it can be served."""
    with _working(f"Publishing {folder}"):
        from flowzoo.registry.publish import publish as complete
        from flowzoo.registry.publish import save_pretrained
        from flowzoo.registry.weights import load

        if source is None and dtype is None:
            facts = complete(folder)
        else:
            flow = _load_file(source) if source else load(folder)
            facts = save_pretrained(flow, folder, dtype=dtype or "float16")
    console.print(f"{facts['name']} is in {folder}; serve its parent folder as FLOWZOO_HUB", soft_wrap=True)


@app.command()
def upload(
    folder: Annotated[pathlib.Path, typer.Argument(help="The model's folder.")],
    address: Annotated[str, typer.Argument(help="Where to, hf://user/model.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
):
    """Upload a model's folder to the Hugging Face Hub, whence it loads by that address."""
    with _working(f"Uploading {folder}"):
        from flowzoo.registry.hugging_face import upload as send

        commit = send(folder, address, private=private)
    console.print(f"{commit} has {folder}: flowzoo.load({address!r})", soft_wrap=True)


def _load_file(path):
    """The model in a .keras file."""
    import keras

    from flowzoo import models

    models.classes()
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # whatever Keras, h5py and zipfile make of a broken file
        raise ValueError(f"{path} cannot be loaded as a .keras file: {error}") from error


def _working(text):
    """A line that says so while something goes on."""
    return console.status(escape(text))


EXPLAINED = (ValueError, RuntimeError, OSError, ImportError)


def main():
    """Runs the command line; an error is told in a line, with FLOWZOO_TRACEBACK set by its traceback."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # of a terminal that has few characters
    try:
        app()
    except Exception as error:
        if os.environ.get("FLOWZOO_TRACEBACK"):
            raise
        told = str(error)
        if not isinstance(error, EXPLAINED) or not told:
            told = f"{type(error).__name__}: {told} FLOWZOO_TRACEBACK=1 in the environment shows where."
        Console(stderr=True).print(
            Text.assemble(("flowzoo: ", "bold red"), told), highlight=False, soft_wrap=True
        )
        raise SystemExit(1) from error
