"""Puts an index of `pretrained/*/model.json` into the wheel, with the weights of the smallest models."""

import json
import pathlib
import re
import tempfile

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WITH_WEIGHTS = ("glow-mnist", "realnvp-moons")  # 1.3 MB, for samples offline


class Index(BuildHookInterface):
    def initialize(self, version, build_data):
        if self.target_name != "wheel" or version == "editable":
            return
        files = sorted(pathlib.Path(self.root, "pretrained").glob("*/model.json"))
        if not files:
            raise FileNotFoundError(
                f"No pretrained/*/model.json in {self.root} to make the wheel's index of."
            )
        models = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in files}
        address = public_address(self.metadata.core.urls.get("Repository", ""), self.metadata.version)
        self.folder = tempfile.TemporaryDirectory()
        path = pathlib.Path(self.folder.name, "index.json")
        index = {"address": address, "models": models}
        path.write_text(json.dumps(index, ensure_ascii=False), encoding="utf-8")
        include, target = build_data["force_include"], "flowzoo/registry/pretrained"
        include[str(path)] = f"{target}/index.json"
        for name in WITH_WEIGHTS:
            file = models[name]["weights"]["file"]
            include[str(pathlib.Path(self.root, "pretrained", name, file))] = f"{target}/{name}/{file}"


def public_address(repository, version):
    """The raw files of `pretrained/` on GitHub at the version's tag, or None for another host."""
    parts = re.fullmatch(r"https://github\.com/([^/]+/[^/]+?)(\.git)?/?", repository)
    return f"https://raw.githubusercontent.com/{parts[1]}/v{version}/pretrained" if parts else None
