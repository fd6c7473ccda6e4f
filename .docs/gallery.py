"""Pages of the pretrained models: pictures, the card, the curve of training, and a table of all."""

import html
import json
import re
import shutil

from PIL import Image

from flowzoo.registry import card

FIRST = ("glow-celeba", "fvae-celeba", "glow-cifar10", "realnvp-cifar10", "glow-mnist")
FIGURES = ("bits_per_dim", "log_likelihood_logit", "log_likelihood_unit", "log_likelihood", "entropy", "psnr")
UNITS = {"bits_per_dim": "bits/dim", "psnr": "dB"}
HEADS = {
    "log_likelihood_logit": "nats, logit",
    "log_likelihood_unit": "nats, pixels / 256",
    "log_likelihood": "nats",
    "entropy": "entropy, nats",
}


def shipped(pretrained):
    """The facts of all trained models, those of faces first."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(pretrained.glob("*/model.json"))]
    found = [facts for facts in found if "weights" in facts]
    places = {name: place for place, name in enumerate(FIRST)}
    return sorted(found, key=lambda facts: (places.get(facts["name"], len(places)), facts["name"]))


def thumbnail(source, path, ratio=2.0, width=640):
    """A small copy of a picture: its upper left part, `ratio` times as wide as it is high."""
    with Image.open(source) as picture:
        picture = picture.convert("RGB")
        if picture.width == picture.height:  # a density, with a title and a margin
            margin = picture.width // 11
            picture = picture.crop((margin, margin, picture.width - margin, picture.height - margin))
        size = min(picture.width, ratio * picture.height), min(picture.height, picture.width / ratio)
        picture = picture.crop((0, 0, *map(round, size)))
        picture.thumbnail((width, width), Image.Resampling.LANCZOS)
        picture.save(path, quality=88)


def page(facts, source, folder):
    """The card of a model as a page, with its pictures beside it."""
    name = facts["name"]
    text = (source / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"\A---\n.*?\n---\n+", "", text, flags=re.DOTALL)  # the front matter of the Hub
    for picture in sorted(source.glob("*.png")):
        shutil.copy(picture, folder / f"{name}-{picture.name}")
        text = text.replace(f"]({picture.name})", f"]({name}-{picture.name})")
    left_out = sorted(path.name for path in source.glob("*.png") if f"{name}-{path.name}" not in text)
    for picture in left_out:
        title = picture.removesuffix(".png").replace("_", " ")
        text = text.replace("\n## Measured", f"\n![{title}]({name}-{picture})\n\n## Measured", 1)
    text = re.sub(r"\]\(\.\./([\w-]+)/?(?:README\.md)?\)", r"](\1.md)", text)
    (folder / f"{name}.md").write_text(text, encoding="utf-8")


def results(models):
    """The figures of all models as a table that sorts by a click on a column's head."""
    shown = [key for key in FIGURES if any(key in facts["metrics"] for facts in models)]
    heads = ["name", "model", "data", "parameters", "MB"]
    heads += [HEADS.get(key, UNITS.get(key, key)) for key in shown] + ["examples/s", "minutes"]
    rows = []
    for facts in models:
        name, metrics, training = facts["name"], facts["metrics"], facts.get("training", {})
        cells = [(f'<a href="{name}.html">{name}</a>', name), facts["class"]]
        cells.append(card.DATA.get(facts["data"]["name"], facts["data"]["name"]))
        cells.append((_parameters(facts["parameters"]), facts["parameters"]))
        cells.append((f"{facts['weights']['bytes'] / 1e6:.2g}", facts["weights"]["bytes"]))
        cells += [
            _number(metrics.get(key), "{:,.3f}" if key == "bits_per_dim" else "{:,.2f}") for key in shown
        ]
        cells.append(_number(training.get("examples_per_second"), "{:,.0f}"))
        minutes = training["seconds"] / 60 if "seconds" in training else None
        cells.append(_number(minutes, "{:,.0f}" if minutes is None or minutes >= 10 else "{:,.1f}"))
        rows.append(
            "".join(
                _cell(*(cell if isinstance(cell, tuple) else (html.escape(cell), cell))) for cell in cells
            )
        )
    head = "".join(f'<th scope="col"><button type="button">{text}</button></th>' for text in heads)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        '```{raw} html\n<div class="table-wrapper"><table class="docutils sortable">\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n```"
    )


def _parameters(count):
    return f"{count / 1e6:.2g} M"


def _number(value, form):
    return ("–", "") if value is None else (form.format(value), value)


def _cell(text, key):
    return f'<td data-key="{html.escape(str(key))}">{text}</td>'


def write(pretrained, folder):
    """Writes the gallery's pages into `folder`, from the folders of the pretrained models."""
    models = shipped(pretrained)
    cards = []
    for facts in models:
        name, source = facts["name"], pretrained / facts["name"]
        page(facts, source, folder)
        thumbnail(source / "samples.png", folder / f"{name}-thumbnail.jpg")
        cards.append(
            f":::{{grid-item-card}} {name}\n:link: {name}\n:link-type: doc\n:img-top: {name}-thumbnail.jpg\n"
            f":img-alt: Samples of {name}\n\n{facts['class']}, {card.headline(facts)}\n:::"
        )
    thumbnail(pretrained / FIRST[0] / "samples.png", folder / "faces.jpg", ratio=1.25, width=800)
    landing = folder.parent / "index.md"
    few = grid(re.sub(r"(:link|:img-top): ", r"\1: gallery/", one) for one in cards[:6])
    landing.write_text(landing.read_text(encoding="utf-8").replace("<!-- cards -->", few), encoding="utf-8")
    index = folder / "index.md"
    text = index.read_text(encoding="utf-8").replace("<!-- cards -->", grid(cards))
    text = text.replace("<!-- results -->", results(models))
    index.write_text(text + contents(facts["name"] for facts in models), encoding="utf-8")


def grid(cards):
    """Cards of sphinx-design, three in a row where there is room."""
    return "::::{grid} 1 2 2 3\n:gutter: 3\n\n" + "\n\n".join(cards) + "\n::::"


def contents(names):
    """The pages that come below an index in the sidebar."""
    return "\n```{toctree}\n:hidden:\n\n" + "\n".join(names) + "\n```\n"
