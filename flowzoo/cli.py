"""The command line: flowzoo list, info, sample, evaluate, train."""

import pathlib
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

app = typer.Typer(
    help="Pretrained normalizing flows for Keras 3.", no_args_is_help=True, pretty_exceptions_enable=False
)
console = Console()

Name = Annotated[str, typer.Argument(help="A model of `flowzoo list`, or a folder with a model.json.")]
DataDir = Annotated[str | None, typer.Option(help="TFDS data folder; by default TFDS's own.")]


@app.command("list")
def list_command():
    """Show the pretrained models."""
    from flowzoo.registry.folder import info, list_models

    table = Table("name", "model", "data", "parameters", "bits/dim", "size")
    for name in list_models():
        facts = info(name)
        trained = "weights" in facts
        table.add_row(
            name,
            facts["class"],
            facts["data"]["name"],
            f"{facts['parameters']:,}" if trained else "–",
            f"{facts['metrics']['bits_per_dim']:.3f}" if trained else "not trained",
            f"{facts['weights']['bytes'] / 1e6:.1f} MB" if trained else "–",
        )
    console.print(table)


@app.command()
def info(name: Name):
    """Show what the model card knows."""
    from flowzoo.registry.folder import info as read

    console.print_json(data=read(name))


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
    with console.status(f"Loading {name}") as status:
        from flowzoo import plots, registry

        flow = registry.load(name)
        status.update(f"Drawing {n} samples")
        if label is None and getattr(flow, "classes", None):
            label = [i % flow.classes for i in range(n)]
        plots.image_grid(flow.sample(n, label, temperature=temperature, seed=seed), path=out, scale=4)
    console.print(f"{n} samples of {flow.name} are in {out}")


@app.command()
def evaluate(name: Name, data_dir: DataDir = None):
    """Measure a model on its test data again, beside its card's figures."""
    with Progress(console=console) as progress:
        task = progress.add_task(f"Evaluating {name}", total=None)
        from flowzoo.registry.folder import info as read
        from flowzoo.registry.train import evaluate_pretrained

        card = read(name).get("metrics", {})
        measured = evaluate_pretrained(
            name,
            data_dir=data_dir,
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
    epochs: Annotated[int | None, typer.Option(help="Instead of the recipe's number.", min=1)] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Instead of the recipe's.", min=0.0)] = None,
):
    """Train a model by its recipe, and write weights, card and samples."""
    console.print(f"Training {name}; interrupted, the same command goes on from its last epoch.")
    from flowzoo.registry.train import train as train_by_recipe

    out = out or pathlib.Path(pathlib.Path(name).name)
    facts = train_by_recipe(name, out, data_dir=data_dir, epochs=epochs, learning_rate=learning_rate)
    console.print(f"{facts['name']} is in {out}: {facts['metrics']['bits_per_dim']:.3f} bits/dim")


def main():
    """Runs the command line; errors that explain themselves are printed without a traceback."""
    try:
        app()
    except (ValueError, RuntimeError, OSError) as error:
        Console(stderr=True).print(f"[bold red]flowzoo:[/] {error}", highlight=False)
        raise SystemExit(1) from error
