"""Puts an index of `pretrained/*/model.json` into the wheel."""

import json
import pathlib
import tempfile

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Index(BuildHookInterface):
    def initialize(self, version, build_data):
        if self.target_name != "wheel" or version == "editable":
            return
        files = sorted(pathlib.Path(self.root, "pretrained").glob("*/model.json"))
        if not files:
            raise FileNotFoundError(
                f"No pretrained/*/model.json in {self.root} to make the wheel's index of."
            )
        index = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in files}
        self.folder = tempfile.TemporaryDirectory()
        path = pathlib.Path(self.folder.name, "index.json")
        path.write_text(json.dumps(index, ensure_ascii=False), encoding="utf-8")
        build_data["force_include"][str(path)] = "flowzoo/registry/index.json"
