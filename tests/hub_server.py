"""A web server of model folders, as any static one or as the Hugging Face Hub, that fails on demand."""

import hashlib
import http.server
import re
import time

FILE = "model.weights.h5"
ARCHIVE = "data.tar.gz"


class Hub(http.server.ThreadingHTTPServer):
    """Serves `folder`; `faults` are taken one a request for a file, `ranges` are what was asked for."""

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.faults = []
        self.ranges = []
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

    def log_message(self, *arguments):
        pass
