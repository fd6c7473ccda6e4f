"""The model card: README.md, made from model.json."""

import pathlib

SPACES = {
    "log_likelihood_pixels": "log-likelihood, pixels in [0, 256)",
    "log_likelihood_unit": "log-likelihood, pixels / 256",
    "log_likelihood_logit": "log-likelihood, logit space",
    "bits_per_dim": "bits/dim",
}


def write_card(folder, facts):
    """Writes `folder/README.md` for a trained model."""
    path = pathlib.Path(folder) / "README.md"
    path.write_text(card(facts), encoding="utf-8")


def card(facts):
    """The text of a trained model's card."""
    paper, data, metrics = facts["paper"], facts["data"], facts["metrics"]
    training, weights, recipe = facts["training"], facts["weights"], facts["recipe"]
    config = "\n".join(f"| `{key}` | `{value}` |" for key, value in facts["config"].items())
    return f"""# {facts["name"]}

{facts["description"]}

![samples](samples.png)

64 samples at temperature 1, seed 0.

```python
import flowzoo

flow = flowzoo.load("{facts["name"]}")
images = flow.sample(16, seed=0)
bits = flow.bits_per_dim(images, seed=0)
```

## Measured

On the {metrics["examples"]:,} images of {data["name"]}'s official `{metrics["split"]}` split, 8 bits, uniform
dequantisation, one noise draw an image, with the stored {weights["dtype"]} weights
(`flowzoo evaluate {facts["name"]}`):

| figure | this model | paper |
|---|---|---|
{_metric_rows(metrics, paper.get("metrics", {}))}

## Model

`flowzoo.{facts["class"]}`, {facts["parameters"]:,} trainable parameters, from {paper["title"]}
({paper["authors"]}, {paper["year"]}, [arXiv:{paper["arxiv"]}](https://arxiv.org/abs/{paper["arxiv"]})).

| argument | value |
|---|---|
{config}

## Training

`flowzoo train {facts["name"]}`: {recipe["epochs"]} epochs of {training["examples"]:,} images, batches of
{recipe["batch_size"]}, {recipe["dtype_policy"]}, {recipe["optimizer"]["class_name"]} with a warm-up and a
cosine decay to 0. The epoch of the best loss on {recipe["validation_examples"]:,} held-out training images
was kept, epoch {training["best_epoch"]}. It took {training["seconds"] / 60:.0f} minutes
on {training["hardware"]} with Keras's {training["backend"]} backend,
{training["examples_per_second"]:.0f} images a second. `training.csv` has the losses of every epoch.

## Weights and licence

`{weights["file"]}`: {weights["bytes"]:,} bytes, {weights["dtype"]}, sha256 `{weights["sha256"]}`.
Weights: {facts["licence"]}. Data: {data["name"]}, {data["licence"]}.

## Limits

{facts["limits"]}
"""


def _metric_rows(metrics, of_paper):
    rows = []
    for key, label in SPACES.items():
        if key in metrics:
            unit = "" if key == "bits_per_dim" else " nats"
            digits = 3 if key == "bits_per_dim" else 1
            published = f"{of_paper[key]:.{digits}f}{unit}" if key in of_paper else "–"
            rows.append(f"| {label} | {metrics[key]:.{digits}f}{unit} | {published} |")
    return "\n".join(rows)
