"""Models from the Hugging Face Hub: `hf://user/model`, with the same checks as any folder."""

import pathlib
import re

from flowzoo.registry.errors import RegistryError
from flowzoo.registry.folder import MODEL_FILE, check_file, read_model_file


def fetch_folder(address):
    """The local folder of `hf://user/model` or `hf://user/model@revision`, downloaded where needed."""
    parts = re.fullmatch(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", address)
    if parts is None:
        raise RegistryError(f"Expected hf://user/model or hf://user/model@revision; got {address!r}.")
    try:
        import huggingface_hub
    except ImportError as error:
        raise RegistryError(f"{address} needs huggingface_hub: pip install 'flowzoo[hub]'") from error
    repository, revision = parts.groups()
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
