"""The model card: README.md, made from model.json."""

import textwrap

from flowzoo.registry.metadata import front_matter

SPACES = {
    "log_likelihood_pixels": "log-likelihood, pixels in [0, 256)",
    "log_likelihood_unit": "log-likelihood, pixels / 256",
    "log_likelihood_logit": "log-likelihood, logit space",
    "log_likelihood": "log-likelihood",
    "entropy": "the data's true entropy",
    "elbo": "ELBO",
    "bits_per_dim": "negative log-likelihood",
    "bits_per_dim_estimate": "negative log-likelihood, importance-weighted estimate",
    "psnr": "PSNR of reconstructions",
}
STATISTICS = {
    "mean": "mean of all values",
    "deviation": "their standard deviation",
    "contrast": "standard deviation within an image",
    "neighbours": "correlation of neighbours",
    "black": "share of values 0",
    "white": "share of values 255",
    "png": "bits/dim as a PNG file",
}
DATA = {"mnist": "MNIST", "cifar10": "CIFAR-10", "celeb_a": "CelebA", "two_moons": "two moons"}


def card(facts):
    """The text of a trained model's card; sections that `facts` know nothing of are left out."""
    return front_matter(facts) + "\n\n".join(filter(None, (part(facts) for part in PARTS))) + "\n"


def headline(facts):
    """The first figure that a model is told by, such as "3.863 bits/dim", or "–"."""
    metrics = facts.get("metrics", {})
    for key in ("bits_per_dim", *SPACES):
        if isinstance(metrics.get(key), (int, float)):
            return figure(key, metrics[key])
    return "–"


def published(key, paper):
    """A figure of the paper, and whose it is if not the model's own; a dash where there is none."""
    if key not in paper.get("metrics", {}):
        return "–"
    of = f" ({paper['metrics_of']})" if "metrics_of" in paper else ""
    return figure(key, paper["metrics"][key]) + of


def duration(seconds):
    """Such as "63 seconds" and "104 minutes"."""
    return f"{seconds} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def figure(key, value):
    """A figure in its unit, such as "3.863 bits/dim"."""
    if not isinstance(value, (int, float)):
        return str(value)
    if key.startswith("bits_per_dim"):
        return f"{value:.3f} bits/dim"
    if key == "psnr":
        return f"{value:.2f} dB"
    if abs(value) < 10:
        return f"{value:.3f} nats"
    return f"{value:.2f} nats" if key in ("log_likelihood", "elbo") else f"{value:.1f} nats"


def _head(facts):
    return "\n\n".join(filter(None, [f"# {facts['name']}", facts.get("description")]))


def _samples(facts):
    if "count" not in facts.get("samples", {}):
        return ""
    samples = facts["samples"]
    arranged = ", a class a column" if _classes(facts) else ""
    if len(_shape(facts)) == 1:
        arranged = ", over the density"
    return (
        "![samples](samples.png)\n\n"
        f"{samples['count']:,} samples at temperature {samples['temperature']:g}, seed 0{arranged}."
    )


def _latent_space(facts):
    if "directions" not in facts:
        return ""
    names, config = list(facts["directions"]), facts["config"]
    context = (
        ", context=7" if config.get("classes") else ", context=context" * bool(config.get("context_shape"))
    )
    rows = "; ".join(f"rows {4 * i + 1} to {4 * i + 4} {name!r}" for i, name in enumerate(names))
    pictures = f"""![interpolations](interpolations.png)

From one sample to another, `flow.interpolate`.

![attributes](attributes.png)

{_wrapped(f"Four samples along each attribute's direction, {rows}; their own strength is 0, in the middle.")}

"""
    return f"""## Latent space

{"" if config.get("context_shape") else pictures}```python
directions = flowzoo.registry.attribute_directions("{facts["name"]}")
changed = flow.manipulate(images, directions["{names[0]}"], strengths=[-1, 0, 1, 2]{context})
```"""


def _use(facts):
    return f"""```python
import flowzoo

flow = flowzoo.load("{facts["name"]}")
{_class(facts).card_use(facts)}
```"""


def _measured(facts):
    if not facts.get("metrics"):
        return ""
    return f"""## Measured

{_wrapped(how_measured(facts) + ":")}

| figure | this model | paper |
|---|---|---|
{_metric_rows(facts["metrics"], facts.get("paper", {}))}"""


def _statistics(facts):
    if not {"count", "temperature", "samples", "images"} <= facts.get("statistics", {}).keys():
        return ""
    found = facts["statistics"]
    text = (
        f"Of {found['count']:,} samples at temperature {found['temperature']:g}, and of as many images of "
        "the test split:"
    )
    rows = "\n".join(
        f"| {label} | {found['samples'][key]:.3g} | {found['images'][key]:.3g} |"
        for key, label in STATISTICS.items()
    )
    return f"## Samples beside real images\n\n{text}\n\n| | samples | real images |\n|---|---|---|\n{rows}"


def how_measured(facts):
    """A phrase on what, and with what, the figures of a model were measured."""
    if "split" not in facts["metrics"] or "data" not in facts:
        return "As whoever saved the model gives them"
    return f"{_class(facts).card_measured(facts)} (`flowzoo evaluate {facts['name']}`)"


def _class(facts):
    """The class that facts name; asking for it imports Keras."""
    from flowzoo import models

    return getattr(models, facts["class"])


def _model(facts):
    text = f"`flowzoo.{facts['class']}`, {facts['parameters']:,} trainable parameters"
    if "title" in facts.get("paper", {}):
        paper = facts["paper"]
        told = [str(paper[key]) for key in ("authors", "year") if key in paper]
        if "arxiv" in paper:
            told.append(f"[arXiv:{paper['arxiv']}](https://arxiv.org/abs/{paper['arxiv']})")
        text += f", from *{paper['title']}*" + (f"\n({', '.join(told)})" if told else "")
    rows = "\n".join(f"| `{key}` | `{value}` |" for key, value in facts["config"].items())
    return f"## Model\n\n{text}.\n\n| argument | value |\n|---|---|\n{rows}"


def _weights(facts):
    weights = facts["weights"]
    licence = [f"Weights: {facts['licence']}."] if "licence" in facts else []
    if "data" in facts:
        data = facts["data"]
        note = f", {data['note']}" if "note" in data else ""
        licence.append(
            f"Data: {data.get('name', 'not named')}{note}; {data.get('licence', 'licence not stated')}."
        )
    text = (
        "## Weights and licence\n\n"
        f"`{weights['file']}`, version {facts.get('version', 1)}: {weights['bytes']:,} bytes, "
        f"{weights['dtype']}, sha256\n`{weights['sha256']}`.\n"
        f"`flowzoo verify {facts['name']}` hashes it again, and evaluates the log-density of eight fixed "
        "inputs."
    )
    return "\n".join([text, " ".join(licence)]).rstrip()


def _limits(facts):
    return f"## Limits\n\n{_wrapped(facts['limits'])}" if facts.get("limits") else ""


def _shape(facts):
    shape = facts["config"]["event_shape"]
    return shape if isinstance(shape, (list, tuple)) else [shape]


def _classes(facts):
    return facts["config"].get("classes")


def _wrapped(text):
    return textwrap.fill(text, 100, break_on_hyphens=False)


def _training(facts):
    recipe, training = facts.get("recipe", {}), facts.get("training", {})
    if "data" not in facts or "epochs" not in recipe or "best_epoch" not in training:
        return ""
    things = "images" if len(_shape(facts)) == 3 else "points"
    mirrored = ", mirrored at random" if facts["data"].get("flip") else ""
    mirrored += ", binarised anew in each epoch" if facts["data"].get("binarize") else ""
    averaged = ", averaged over steps (EMA)," if recipe["optimizer"]["config"].get("use_ema") else ""
    held_out = f"{recipe['validation_examples']:,} held-out training {things}"
    if not recipe["validation_examples"]:
        held_out = f"these {things}, none of which were held out,"
    text = (
        f"`flowzoo train {facts['name']}`: {recipe['epochs']} epochs of {training['examples']:,} {things} in "
        f"batches of {recipe['batch_size']}{mirrored}, {recipe['dtype_policy']}, "
        f"{recipe['optimizer']['class_name']} with a warm-up and a cosine decay to 0. The weights{averaged} "
        f"of the epoch of the best loss on {held_out} were kept, epoch "
        f"{training['best_epoch']}. It took {duration(training['seconds'])} on "
        f"{training['hardware']} with Keras's {training['backend']} backend, "
        f"{training['examples_per_second']:,.0f} {things} a second. `training.csv` has every epoch's losses."
    )
    return f"## Training\n\n![training curve](training.png)\n\n{_wrapped(text)}"


def _metric_rows(metrics, paper):
    rows = []
    for key, label in SPACES.items():
        if key in metrics:
            if key == "log_likelihood" and "importance_samples" in metrics:
                label += ", importance-weighted"
            if key == "bits_per_dim" and "bits_per_dim_estimate" in metrics:
                label += ", bound"
            rows.append(f"| {label} | {figure(key, metrics[key])} | {published(key, paper)} |")
    told = (*SPACES, "split", "examples", "importance_samples")
    rows += [f"| {key} | {value} | – |" for key, value in metrics.items() if key not in told]
    return "\n".join(rows)


PARTS = (_head, _samples, _use, _latent_space, _measured, _statistics, _model, _training, _weights, _limits)
