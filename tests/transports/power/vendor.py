"""A controller as vendors make them: by Redfish, each with its own ways, which a test chooses."""

import base64
import contextlib
import gzip
import json
import ssl

from aiohttp import web

USER, PASSWORD = "operator", 'pass: wörd"<&'
SYSTEM = "/redfish/v1/Systems/1"
SYSTEMS = "/redfish/v1/Systems"
SESSIONS = "/redfish/v1/SessionService/Sessions"
BESIDE = f"{SYSTEM}/SD"
ACTION = f"{SYSTEM}/Actions/ComputerSystem.Reset"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def complaint(*texts):
    """What a service says when it does not do something."""
    messages = [{"Message": text, "MessageId": "Base.1.8.X"} for text in texts]
    return {"error": {"message": "See ExtendedInfo.", "@Message.ExtendedInfo": messages}}


class HangsUp(web.Response):
    """An answer behind which the connection is closed, though it does not say so."""

    async def prepare(self, request):
        self.transport = request.transport
        return await super().prepare(request)

    async def write_eof(self, *pieces):
        await super().write_eof(*pieces)
        self.transport.close()


class Vendor:
    """One controller; `heard` are the requests, `instead` what it answers to some of them."""

    def __init__(self, **ways):
        self.power = "On"
        self.boot = {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None"}
        self.heard = []
        self.orders = []
        self.tokens = {}
        self.instead = {}
        self.systems = [SYSTEM]
        self.reset = {"target": ACTION, "ResetType@Redfish.AllowableValues": ["On", "ForceOff"]}
        self.root = {
            "Systems": {"@odata.id": SYSTEMS},
            "Links": {"Sessions": {"@odata.id": SESSIONS}},
        }
        self.system = {}
        self.etag = None
        self.compress = False
        self.ends_sessions_with = 204
        self.hangs_up = False  # after each answer, without a word about it
        self.beside = None
        vars(self).update(ways)

    def allow(self, *ways):
        self.reset = {"target": ACTION, "ResetType@Redfish.AllowableValues": list(ways)}
        return self

    def answers(self, method, path, *several):
        """Answer so in turn, pairs of status and object; after the last as usual."""
        self.instead[method, path] = list(several)
        return self

    async def handle(self, request):
        method, path = request.method, request.path.rstrip("/") or "/"
        body = await request.read()
        self.heard.append((method, path))
        if several := self.instead.get((method, path)):
            status, said, *headers = several.pop(0)
            if callable(said):
                return await said(request)
            return self.answer(status, said, *headers)
        said = json.loads(body) if body else None
        if path == "/redfish/v1":
            return self.answer(200, self.root)
        if (method, path) == ("POST", SESSIONS):
            return self.log_in(said)
        is_ours = request.headers.get("X-Auth-Token") in self.tokens
        if not is_ours and request.headers.get("Authorization") != BASIC:
            return self.answer(401, complaint("Who are you?"))
        return self.do(method, path, said, request.headers)

    def log_in(self, said):
        if said != {"UserName": USER, "Password": PASSWORD}:
            return self.answer(401, complaint("The authentication credentials are missing."))
        token = f"token-{len(self.heard)}"
        self.tokens[token] = f"{SESSIONS}/{token}"
        where = {"X-Auth-Token": token, "Location": f"https://bmc.example{self.tokens[token]}"}
        return self.answer(201, {"@odata.id": self.tokens[token]}, where)

    def do(self, method, path, said, headers):
        if method == "DELETE":
            self.tokens = {token: at for token, at in self.tokens.items() if at != path}
            return self.answer(self.ends_sessions_with, None)
        if self.beside and (path == BESIDE or method == "PATCH"):
            return self.do_beside(method, path, said)
        if path == SYSTEMS:
            return self.answer(200, {"Members": [{"@odata.id": each} for each in self.systems]})
        if path == ACTION:
            self.orders.append(said["ResetType"])
            return self.answer(204, None)
        if path in self.systems:
            return self.do_system(method, said, headers)
        return self.answer(404, complaint("No such thing."))

    def do_system(self, method, said, headers):
        if method == "PATCH":
            return self.change(said, headers.get("If-Match"))
        return self.answer(200, self.shown(), {"ETag": self.etag[0]} if self.etag else {})

    def do_beside(self, method, path, said):
        if path != BESIDE:
            return self.answer(400, complaint(f"Support is moved to {BESIDE}"))
        if method == "PATCH":
            self.beside |= said["Boot"]
        return self.answer(200, {"Boot": self.beside})

    def shown(self):
        actions = {"#ComputerSystem.Reset": self.reset}
        return {"PowerState": self.power, "Boot": self.boot, "Actions": actions} | self.system

    def change(self, said, tag):
        if self.etag and tag != self.etag[1]:
            status = 412 if tag else 428
            return self.answer(status, complaint("The precondition is not the right one."))
        self.boot |= said["Boot"]
        return self.answer(200, self.shown())

    def answer(self, status, said, headers=None):
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        headers = {"Content-Type": "application/json"} | (headers or {})
        if said is None:
            body = b""
        elif self.compress:
            body, headers = gzip.compress(body), headers | {"Content-Encoding": "gzip"}
        kind = HangsUp if self.hangs_up else web.Response
        return kind(status=status, body=body, headers=headers)


@contextlib.asynccontextmanager
async def serving(vendor, context):
    """Serve it by TLS; yield the port of 127.0.0.1."""
    handler = web.Server(vendor.handle, access_log=None, handler_cancellation=True)
    server = web.ServerRunner(handler, shutdown_timeout=0.1)
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield site._server.sockets[0].getsockname()[1]
    finally:
        await server.cleanup()


def context_of(file):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
