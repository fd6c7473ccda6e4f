"""A web server of model folders, as any static one or as the Hugging Face Hub, that fails on demand."""

import base64
import hashlib
import http.server
import json
import re
import time

FILE = "model.weights.h5"
ARCHIVE = "data.tar.gz"


class Hub(http.server.ThreadingHTTPServer):
    """Serves `folder`; `faults` are taken one a request for a file, `ranges` are what was asked for.

    What is uploaded goes into `folder` too, `commits` are the messages; `refused` is the status that answers
    uploads instead.
    """

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.faults = []
        self.ranges = []
        self.commits = []
        self.refused = None
        self.large = {}  # uploaded files by their sha256, of which a commit gives the names
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.server.folder / re.sub("^user/(.+)/resolve/[^/]+/", r"\1/", self.path.lstrip("/"))
        fault = None
        if path.name in (FILE, ARCHIVE) and self.command == "GET":
            self.server.ranges.append(self.headers.get("Range"))
            fault = self.server.faults.pop(0) if self.server.faults else None
        if isinstance(fault, int):
            return self.send_error(fault)
        if not path.is_file():
            return self.send_error(404)
        content = path.read_bytes()
        if fault == "wrong byte":
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start and fault != "no ranges":
            first = int(start[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
            content = content[first:]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", 40 * "a")
        self.end_headers()
        if self.command == "HEAD":
            return None
        if fault == "cut":
            content = content[: len(content) // 2]
        if fault == "slow":
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            time.sleep(20)
        self.wfile.write(content)
        return None

    def do_POST(self):
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.refused:
            return self.answer({"error": "not yours"}, self.server.refused)
        if self.path == "/api/repos/create":
            name = json.loads(content)
            return self.answer({"url": f"{self.server.address}/{name['organization']}/{name['name']}"})
        if self.path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(content)["files"]]
            modes = ["lfs" if path.endswith((".h5", ".png")) else "regular" for path in paths]
            files = [
                {"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in zip(paths, modes, strict=True)
            ]
            return self.answer({"files": files})
        if self.path.endswith("/info/lfs/objects/batch"):
            for file in (objects := json.loads(content)["objects"]):
                file["actions"] = {"upload": {"href": f"{self.server.address}/lfs/{file['oid']}"}}
            return self.answer({"transfer": "basic", "objects": objects})
        return self.commit(content)

    def commit(self, content):
        user, model = re.fullmatch("/api/models/([^/]+)/([^/]+)/commit/main", self.path).groups()
        for line in map(json.loads, content.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                self.server.commits.append(value["summary"])
                continue
            path = self.server.folder / model / value["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            large = line["key"] == "lfsFile"
            path.write_bytes(self.server.large[value["oid"]] if large else base64.b64decode(value["content"]))
        url = f"{self.server.address}/{user}/{model}/commit/{40 * 'a'}"
        return self.answer({"commitUrl": url, "commitOid": 40 * "a"})

    def do_PUT(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.large[hashlib.sha256(content).hexdigest()] = content
        self.answer({})

    def answer(self, facts, status=200):
        content = json.dumps(facts).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass
