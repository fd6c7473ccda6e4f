"""The model card: README.md, made from model.json."""

import pathlib
import textwrap

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
    weights = facts["weights"]
    config = "\n".join(f"| `{key}` | `{value}` |" for key, value in facts["config"].items())
    measured = (
        f"On the {metrics['examples']:,} images of {data['name']}'s official `{metrics['split']}` split, "
        f"{facts['config'].get('bits', 8)} bits, {facts['config'].get('dequantization', 'uniform')} "
        f"dequantisation, one draw of the noise an image, with the stored "
        f"{weights['dtype']} weights (`flowzoo evaluate {facts['name']}`):"
    )
    conditional = facts["config"].get("classes") is not None
    by_class = ", a class a column" if conditional else ""
    label, labels = (", context=7", ", context=[7] * 16") if conditional else ("", "")
    return f"""# {facts["name"]}

{facts["description"]}

![samples](samples.png)

{facts["samples"]["count"]} samples at temperature {facts["samples"]["temperature"]:g}, seed 0{by_class}.

```python
import flowzoo

flow = flowzoo.load("{facts["name"]}")
images = flow.sample(16{label}, seed=0)
bits = flow.bits_per_dim(images{labels}, seed=0)
```

## Measured

{_wrapped(measured)}

| figure | this model | paper |
|---|---|---|
{_metric_rows(metrics, paper.get("metrics", {}))}

## Model

`flowzoo.{facts["class"]}`, {facts["parameters"]:,} trainable parameters, from *{paper["title"]}*
({paper["authors"]}, {paper["year"]}, [arXiv:{paper["arxiv"]}](https://arxiv.org/abs/{paper["arxiv"]})).

| argument | value |
|---|---|
{config}

## Training

{_wrapped(_training(facts))}

## Weights and licence

`{weights["file"]}`: {weights["bytes"]:,} bytes, {weights["dtype"]}, sha256 `{weights["sha256"]}`.
Weights: {facts["licence"]}. Data: {data["name"]}, {data["licence"]}.

## Limits

{_wrapped(facts["limits"])}
"""


def _wrapped(text):
    return textwrap.fill(text, 100, break_on_hyphens=False)


def _training(facts):
    recipe, training = facts["recipe"], facts["training"]
    mirrored = ", mirrored at random" if facts["data"].get("flip") else ""
    averaged = ", averaged over steps (EMA)," if recipe["optimizer"]["config"].get("use_ema") else ""
    return (
        f"`flowzoo train {facts['name']}`: {recipe['epochs']} epochs of {training['examples']:,} images in "
        f"batches of {recipe['batch_size']}{mirrored}, {recipe['dtype_policy']}, "
        f"{recipe['optimizer']['class_name']} with a warm-up and a cosine decay to 0. The weights{averaged} "
        f"of the epoch of the best loss on "
        f"{recipe['validation_examples']:,} held-out training images were kept, epoch "
        f"{training['best_epoch']}. It took {training['seconds'] / 60:.0f} minutes on "
        f"{training['hardware']} with Keras's {training['backend']} backend, "
        f"{training['examples_per_second']:.0f} images a second. `training.csv` has every epoch's losses."
    )


def _metric_rows(metrics, of_paper):
    rows = []
    for key, label in SPACES.items():
        if key in metrics:
            unit = "" if key == "bits_per_dim" else " nats"
            digits = 3 if key == "bits_per_dim" else 1
            published = f"{of_paper[key]:.{digits}f}{unit}" if key in of_paper else "–"
            rows.append(f"| {label} | {metrics[key]:.{digits}f}{unit} | {published} |")
    return "\n".join(rows)
