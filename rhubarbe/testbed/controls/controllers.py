"""A program: sushy-emulator, as many controllers, each with one machine of the testbed.

What it is to serve is its argument, as JSON; it goes on until it is killed. Sessions are added,
which sushy-emulator does not have and most controllers do: few of them.
"""

import base64
import json
import secrets
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import bcrypt
import flask
from sushy_tools import error
from sushy_tools.emulator import main as emulator
from sushy_tools.emulator.resources.systems.base import AbstractSystemsDriver
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from rhubarbe.testbed.boot import Key
from rhubarbe.testbed.controls import outside

ROUNDS = 4  # of bcrypt: the fewest
MOST_SESSIONS = 4
BREAKS_OFF = "testbed.breaks_off"  # what a request is marked by whose answer is to do that
SESSIONS = "/redfish/v1/SessionService/Sessions"
KEYS = {
    "On": Key.ON,
    "ForceOn": Key.ON,
    "ForceOff": Key.OFF,
    "GracefulShutdown": Key.OFF,
    "ForceRestart": Key.RESET,
    "GracefulRestart": Key.RESET,
}
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def _here() -> str:
    """Return at which of our addresses this is asked."""
    address: str = flask.request.environ["werkzeug.socket"].getsockname()[0]
    return address


class Driver(AbstractSystemsDriver):  # type: ignore[misc]
    """The machines, of which each controller shows one; each verb goes to the testbed."""

    driver = "testbed"

    def __init__(self, machines: dict[str, str], way: str) -> None:
        self._machines = machines
        self._way = way

    @property
    def systems(self) -> list[str]:
        """Return the one that is here."""
        return [self._machines[_here()]]

    def uuid(self, identity: str) -> str:
        """Return by what it is known."""
        if identity not in self.systems:
            raise error.NotFound
        return identity

    def name(self, identity: str) -> str:
        """Return how it is called."""
        return self.uuid(identity)

    def get_power_state(self, identity: str) -> str:
        """Tell whether it is on."""
        return "On" if self._ask(identity, "status") == "on" else "Off"

    def set_power_state(self, identity: str, state: str) -> None:
        """Switch it."""
        if state not in KEYS:
            raise error.BadRequest(f"{state} is no way to reset it")
        self._ask(identity, KEYS[state])

    def get_boot_device(self, identity: str) -> str:
        """Tell from what it boots next."""
        return "Pxe" if self._ask(identity, "boot") == "network" else "Hdd"

    def set_boot_device(self, identity: str, boot_source: str) -> None:
        """Have it boot from the network next, or as usual."""
        self._ask(identity, "network" if boot_source == "Pxe" else "disk")

    def _ask(self, identity: str, verb: str) -> str:
        try:
            answer = outside.ask(self._way, self.uuid(identity), verb)
        except OSError as broken:
            flask.request.environ["werkzeug.socket"].close()
            raise error.FishyError("gone") from broken
        if answer == "card-refuses":
            raise error.Unauthorized("Incorrect username or password")
        if answer == "card-500":
            raise error.FishyError("power controller failure")
        if answer == "card-half":
            flask.request.environ[BREAKS_OFF] = True
        return answer


class Sessions:
    """Sessions before an application that knows only passwords."""

    def __init__(self, application: Wsgi, basic: str, user: str, password: str) -> None:
        self._application = application
        self._basic = basic
        self._login = {"UserName": user, "Password": password}
        self._tokens: dict[str, tuple[str, str]] = {}  # by their path; with their address
        self._lock = threading.Lock()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a request, by WSGI."""
        path, method = environ["PATH_INFO"].rstrip("/"), environ["REQUEST_METHOD"]
        if path == "/redfish/v1" and method == "GET":
            return self._root(environ, start_response)
        if path == SESSIONS and method == "POST":
            return self._open(environ, start_response)
        token = environ.pop("HTTP_X_AUTH_TOKEN", None)
        if token is not None and token in (each[0] for each in self._tokens.values()):
            environ["HTTP_AUTHORIZATION"] = f"Basic {self._basic}"
            if path in self._tokens and method == "DELETE":
                with self._lock:
                    del self._tokens[path]
                print(f"session ends: {path}", file=sys.stderr)
                return _answer(start_response, "204 No Content")
        answer = self._application(environ, start_response)
        return _half(answer, environ["werkzeug.socket"]) if BREAKS_OFF in environ else answer

    def _root(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Add where sessions are to what the application says."""
        body = b"".join(self._application(environ, lambda *_: None))
        root = json.loads(body) | {"Links": {"Sessions": {"@odata.id": SESSIONS}}}
        return _answer(start_response, "200 OK", root)

    def _open(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        address = environ["werkzeug.socket"].getsockname()[0]
        if asked != self._login:
            return _answer(start_response, "401 Unauthorized", _words("wrong user or password"))
        with self._lock:
            if sum(each[1] == address for each in self._tokens.values()) >= MOST_SESSIONS:
                full = _words("The maximum number of user sessions is reached.")
                return _answer(start_response, "503 Service Unavailable", full)
            token, path = secrets.token_hex(), f"{SESSIONS}/{secrets.token_hex(4)}"
            self._tokens[path] = (token, address)
        print(f"session begins: {path}", file=sys.stderr)
        headers = [("X-Auth-Token", token), ("Location", path)]
        return _answer(start_response, "201 Created", {"@odata.id": path}, headers)


def _half(answer: Iterable[bytes], connection: socket.socket) -> Iterator[bytes]:
    """Yield half an answer, whose length was told, and hang up."""
    whole = b"".join(answer)
    yield whole[: len(whole) // 2]
    connection.shutdown(socket.SHUT_RDWR)


def _words(text: str) -> dict[str, Any]:
    return {"error": {"@Message.ExtendedInfo": [{"Message": text}]}}


def _answer(
    start_response: Callable[..., Any],
    status: str,
    said: object = None,
    headers: Iterable[tuple[str, str]] = (),
) -> Iterable[bytes]:
    body = json.dumps(said).encode() if said is not None else b""
    length = [("Content-Length", str(len(body)))]
    start_response(status, [("Content-Type", "application/json"), *length, *headers])
    return [body]


def application_of(
    driver: AbstractSystemsDriver, directory: Path, user: str, password: str
) -> Wsgi:
    """Return what serves the machines of a driver to this user; `directory` has its files."""
    users = directory / "redfish.users"
    users.touch(mode=0o600)
    known = bcrypt.hashpw(password.encode(), bcrypt.gensalt(ROUNDS)).decode()
    users.write_text(f"{user}:{known}\n")
    emulator.Application.systems = driver
    settings = {
        "SUSHY_EMULATOR_AUTH_FILE": str(users),
        "SUSHY_EMULATOR_STATE_DIR": str(directory),
        "SUSHY_EMULATOR_FEATURE_SET": "minimum",
    }
    emulator.app.configure(extra_config=settings)
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    return Sessions(emulator.app.wsgi_app, basic, user, password)


def listen(
    address: str, port: int, application: Wsgi, context: ssl.SSLContext
) -> ThreadedWSGIServer:
    """Return what serves at an address once it is run in a thread."""
    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    server = ThreadedWSGIServer(address, port, application, ssl_context=context)
    # By the thread of the connection: one that says nothing is not to hold up the others.
    vars(server.socket)["do_handshake_on_connect"] = False
    return server


def main() -> int:
    """Serve `PLAN`, and say so in a line; up to our end."""
    plan = json.loads(sys.argv[1])
    driver = Driver(plan["machines"], plan["way"])
    password = Path(plan["password"]).read_text().rstrip("\n")
    application = application_of(driver, Path(plan["directory"]), plan["user"], password)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(plan["served"])
    for address in plan["machines"]:
        server = listen(address, plan["port"], application, context)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    signal.pause()
    return 0
