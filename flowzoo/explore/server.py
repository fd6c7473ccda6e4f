"""The explorer's server: the page's files, and answers to what the page asks, for this machine alone."""

import http.server
import importlib
import ipaddress
import json
import pathlib
import socket
import socketserver
import sys
import threading
import urllib.parse
import webbrowser

from flowzoo.explore.library import Library, own_model

PORT = 8246
PAGE = pathlib.Path(__file__).with_name("page")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
FILES = {f"/{path.name}": path for path in PAGE.iterdir()} | {"/": PAGE / "index.html"}
LARGEST = 32 * 2**20  # bytes of a request
DOING = {
    "describe": "Reading the model",
    "draw": "Drawing",
    "walk": "Walking",
    "change": "Changing",
    "look": "Measuring",
    "neighbours": "Drawing neighbours",
    "redraw": "Drawing levels anew",
    "density": "Computing the density",
    "layers": "Bending the plane",
    "measure": "Measuring",
}
EXPECTED = (ValueError, TypeError, RuntimeError, OSError, MemoryError)  # which say what is wrong
HEADERS = {
    # Nothing is loaded from elsewhere, and no other page shows this one in a frame.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Server(http.server.ThreadingHTTPServer):
    """Serves the page of a `Library` on a port.

    Arguments:
        library: the models.
        host: the address to listen on.
        port: 0 for any free one.
    """

    daemon_threads = True

    def __init__(self, library, host="127.0.0.1", port=0):
        self.library = library
        self.host = host
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), Handler)

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # without HTTPServer's look-up of the host's full name

    @property
    def address(self):
        """Where a browser on this machine finds the page."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server_address[1]}/"

    def handle_error(self, request, client_address):
        """Nothing for a browser that went away; for anything else, one line."""
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            print(f"flowzoo explore: {type(error).__name__}: {error}", file=sys.stderr)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request."""

    server_version, sys_version = "flowzoo", ""
    timeout = 60  # seconds that a browser may take to send the next byte

    def do_GET(self):
        if not self._is_for_us():
            return
        path = urllib.parse.urlsplit(self.path).path
        if path in FILES:
            self._send(200, FILES[path].read_bytes(), TYPES[FILES[path].suffix])
        elif path == "/models":
            library = self.server.library
            content = {"models": library.listed(), "start": library.start()}
            self._send(200, json.dumps(content).encode(), "application/json")
        else:
            self._refuse(404, "There is nothing at this address.")

    def do_POST(self):
        """Streams lines of JSON: {"doing": words}, …, then {"done": answer} or {"error": words}."""
        if not self._is_for_us():
            return
        action = urllib.parse.urlsplit(self.path).path.removeprefix("/ask/")
        if action not in DOING:
            self._refuse(404, "There is nothing at this address.")
            return
        request = self._request()
        if request is None:
            return
        self._start(200, "application/x-ndjson")
        self.end_headers()
        try:
            self._line({"done": self._answer(action, request)})
        except ConnectionError:
            raise
        except EXPECTED as error:
            self._line({"error": str(error) or type(error).__name__})
        except Exception as error:  # one that nobody foresaw: the page still gets an answer
            self._line({"error": f"This should not have happened: {type(error).__name__}: {error}"})

    def _answer(self, action, request):
        """What the action gives; the page hears on the way what is being done."""
        with self.server.library.using(
            request.pop("model"), lambda words: self._line({"doing": words})
        ) as source:
            kind = action, str(request.get("n"))
            words = DOING[action]
            first = kind not in source.done and action != "describe"
            self._line({"doing": f"{words}, and compiling, as it is the first time" if first else words})
            answer = importlib.import_module("flowzoo.explore.actions").perform(action, source, request)
            source.done.add(kind)
            return answer

    def _line(self, content):
        self.wfile.write(json.dumps(content, allow_nan=False).encode() + b"\n")
        self.wfile.flush()

    def _is_for_us(self):
        """Whether the request is of this page, and not of another site that the browser shows.

        A site's own name that points here (DNS rebinding) shows in Host; a request of another site's
        page, in Origin and Sec-Fetch-Site.
        """
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if not names_this_machine(host, self.server.host):
            self._refuse(
                403, f"This page is not served as {host!r}; use an address in numbers, or localhost."
            )
        elif origin not in (None, f"http://{host}") or self.headers.get("Sec-Fetch-Site") == "cross-site":
            self._refuse(403, "Other sites may not use this page.")
        else:
            return True
        return False

    def _request(self):
        """The request's JSON object, with the name of a model, or None after a refusal."""
        if self.headers.get("Content-Type", "").partition(";")[0] != "application/json":
            return self._refuse(415, "Requests must be application/json.")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            return self._refuse(411, "Requests must give their Content-Length.")
        if int(length) > LARGEST:
            return self._refuse(
                413, f"The file is too large: at most {LARGEST * 3 // 4 / 2**20:.0f} MiB fit."
            )
        try:
            request = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("model"), str):
            return self._refuse(400, "Requests must be a JSON object that names a model.")
        return request

    def _refuse(self, status, words):
        self._send(status, json.dumps({"error": words}).encode(), "application/json")

    def _send(self, status, content, kind):
        self._start(status, kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _start(self, status, kind):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in HEADERS.items():
            self.send_header(name, value)

    def log_message(self, format, *arguments):
        """Requests are not told of."""


def names_this_machine(header, host):
    """Whether a Host header is an address in numbers, "localhost" or the name that was listened on.

    Example:
        >>> from flowzoo.explore.server import names_this_machine
        >>> [names_this_machine(h, "127.0.0.1") for h in ("127.0.0.1:80", "[::1]", "rebound.example:80")]
        [True, True, False]
    """
    try:
        name = urllib.parse.urlsplit(f"//{header}").hostname
        if name in ("localhost", host.lower()):
            return True
        ipaddress.ip_address(name or "")
    except ValueError:
        return False
    return True


def serve(name=None, *, host="127.0.0.1", port=None, browser=True, tell=print):
    """Serves the explorer until it is interrupted.

    Arguments:
        name: the model that it shows first: of `flowzoo.list_models()`, a folder, or "hf://user/model".
        host: the address to listen on; 127.0.0.1, which no other machine reaches, unless others shall.
        port: by default 8246, or any free one where that is taken.
        browser: whether to open the page.
        tell: called with what the user is to know, such as the address.

    Raises: RegistryError for an unknown model; OSError if the address cannot be listened on.
    """
    library = Library(own_model(name))
    try:
        server = Server(library, host, PORT if port is None else port)
    except OSError as error:
        if port is not None:
            raise OSError(f"{host} port {port} cannot be listened on: {error}.") from error
        server = Server(library, host, 0)
    with server:
        tell(f"Exploring at {server.address} until Ctrl-C")
        if not _is_loopback(host):
            tell(f"Whoever reaches {host} can use it; there is no password.")
        if browser:
            threading.Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            tell("Done.")


def _is_loopback(host):
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
