"""Models from and to the Hugging Face Hub: `hf://user/model`, with the same checks as any folder."""

import pathlib
import re

from flowzoo.registry.errors import RegistryError
from flowzoo.registry.folder import MODEL_FILE, check_file, read_model_file
from flowzoo.registry.metadata import RESULTS_FOLDER


def fetch_folder(address):
    """The local folder of `hf://user/model` or `hf://user/model@revision`, downloaded where needed."""
    repository, revision = _parts(address)
    huggingface_hub = _library(address)
    try:
        path = huggingface_hub.hf_hub_download(repository, MODEL_FILE, revision=revision)
        folder = pathlib.Path(path).parent
        facts = read_model_file(folder)
        if "weights" in facts:
            commit = folder.name if re.fullmatch("[0-9a-f]{40}", folder.name) else revision
            file = facts["weights"]["file"]
            path = pathlib.Path(huggingface_hub.hf_hub_download(repository, file, revision=commit))
            try:
                check_file(path, facts["weights"])
            except RegistryError:
                path.resolve().unlink()
                path.unlink(missing_ok=True)
                raise
    except RegistryError:
        raise
    except Exception as error:  # the Hub's own errors, and those of the network below them
        raise RegistryError(f"{address} cannot be downloaded: {error}") from error
    return folder


def upload(folder, address, *, private=False):
    """Uploads a model's folder to `hf://user/model`, in one commit; returns the address of that.

    The repository is made if missing. All files of the folder go there, with the results that the Hub shows
    (`.eval_results`), but other hidden files do not. Who uploads is known by `hf auth login` or $HF_TOKEN.

    Arguments:
        folder: as `flowzoo.save_pretrained` and `flowzoo train` write it.
        address: "hf://user/model", or "hf://user/model@branch" of one that exists.
        private: whether a new repository is private.

    Raises: RegistryError for a folder whose weights are missing or damaged, and for whatever the Hub refuses.
    """
    folder = pathlib.Path(folder)
    repository, revision = _parts(address)
    huggingface_hub = _library(address)
    facts = read_model_file(folder)
    if "weights" not in facts or not (folder / facts["weights"]["file"]).is_file():
        raise RegistryError(f"{folder} has no weights to upload: train or publish the model first.")
    check_file(folder / facts["weights"]["file"], facts["weights"])
    paths = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    paths += (folder / RESULTS_FOLDER).glob("*.yaml")
    files = [
        huggingface_hub.CommitOperationAdd(path.relative_to(folder).as_posix(), path)
        for path in sorted(paths)
    ]
    api = huggingface_hub.HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        message = f"{facts['name']}, version {facts.get('version', 1)}"
        return api.create_commit(repository, files, commit_message=message, revision=revision).commit_url
    except Exception as error:  # the Hub's own errors, and those of the network below them
        raise RegistryError(f"{folder} cannot be uploaded to {address}: {error}{_advice(error)}") from error


def _advice(error):
    """What to do where the Hub does not know who uploads, or does not let them."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status not in (401, 403) and "Token" not in type(error).__name__:
        return ""
    return (
        "\nLog in by `hf auth login`, or set HF_TOKEN, with a token that may write to that user's or "
        "organisation's repositories (https://huggingface.co/settings/tokens)."
    )


def _parts(address):
    """The repository and the revision, or None, of an address."""
    parts = re.fullmatch(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", address)
    if parts is None:
        raise RegistryError(f"Expected hf://user/model or hf://user/model@revision; got {address!r}.")
    return parts.groups()


def _library(address):
    try:
        import huggingface_hub
    except ImportError as error:
        raise RegistryError(f"{address} needs huggingface_hub: pip install 'flowzoo[hub]'") from error
    return huggingface_hub
