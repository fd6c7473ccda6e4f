"""What the Hugging Face Hub reads of a model: the front matter of its card, and its results."""

import json

RESULTS_FOLDER = ".eval_results"
DATASETS = {"mnist": "ylecun/mnist", "cifar10": "uoft-cs/cifar10", "celeb_a": "flwrlabs/celeba"}
LICENCES = ("apache-2.0", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc0-1.0", "mit")
UNMEASURED = ("split", "examples", "importance_samples", "entropy")


def front_matter(facts):
    """The YAML at the top of a card, by which hubs sort models.

    References:
        https://huggingface.co/docs/hub/model-cards

    Example:
        >>> print(front_matter({"class": "NICE", "config": {"event_shape": [28, 28, 1]}}), end="")
        ---
        library_name: keras
        tags:
        - flowzoo
        - nice
        - normalizing-flows
        - density-estimation
        pipeline_tag: unconditional-image-generation
        ---
        <BLANKLINE>
    """
    lines = ["library_name: keras"]
    if "licence" in facts:
        licence = str(facts["licence"])
        known = licence.lower() in LICENCES
        lines += (
            [f"license: {licence.lower()}"]
            if known
            else ["license: other", f"license_name: {_quoted(licence)}"]
        )
    if (dataset := _dataset(facts)) is not None:
        lines += ["datasets:", f"- {dataset}"]
    lines += [
        "tags:",
        "- flowzoo",
        f"- {facts['class'].lower()}",
        "- normalizing-flows",
        "- density-estimation",
    ]
    shape = facts["config"].get("event_shape")
    if isinstance(shape, (list, tuple)) and len(shape) == 3:
        lines.append("pipeline_tag: unconditional-image-generation")
    return "\n".join(["---", *lines, "---"]) + "\n\n"


def evaluation_results(facts, notes):
    """The text of a file of `.eval_results`, or None for data that the Hub does not have.

    References:
        https://huggingface.co/docs/hub/eval-results

    Arguments:
        facts: of the `model.json`.
        notes: how the figures were measured.

    Example:
        >>> facts = {"data": {"name": "mnist"}, "metrics": {"bits_per_dim": 1.5}}
        >>> print(evaluation_results(facts, "By one draw."), end="")
        - dataset:
            id: ylecun/mnist
            task_id: bits_per_dim
          value: 1.5
          notes: "By one draw."
    """
    dataset = _dataset(facts)
    figures = {key: value for key, value in facts.get("metrics", {}).items() if key not in UNMEASURED}
    if dataset is None or not figures:
        return None
    return "".join(
        f"- dataset:\n    id: {dataset}\n    task_id: {_plain(key)}\n"
        f"  value: {json.dumps(value)}\n  notes: {_quoted(notes)}\n"
        for key, value in figures.items()
    )


def _dataset(facts):
    return DATASETS.get(facts.get("data", {}).get("name"))


def _plain(key):
    return key if key.replace("_", "").isalnum() else _quoted(key)


def _quoted(text):
    """A string of JSON, which is one of YAML."""
    return json.dumps(text, ensure_ascii=False)
