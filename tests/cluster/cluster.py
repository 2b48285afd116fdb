"""The nodes, the database's servers, and what a test asks of them."""

import asyncio
import os
import pathlib
import re
import signal
import subprocess
import sys
import urllib.parse

from client import JSON, Broken, Target

PASSWORD = "a sentence that nobody guesses"
REDIRECT_URI = "http://127.0.0.1:18899/callback"
RESOURCE = "http://127.0.0.1:9000"
# Of RFC 7636, appendix B.
VERIFIER, CHALLENGE = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

FIRST_PORT = int(os.environ.get("CLUSTER_PORTS", "18850"))
WIRE, RESOURCE_SERVER, PRIMARY, STANDBY = (FIRST_PORT + number for number in (10, 20, 30, 31))
LIMITS = ("token_per_client", "token_per_address", "revocation_per_client", "refused_per_address", "authorize_per_address",
          "login_per_address", "login_per_account")


# The figures of the documentation come from this form, on a machine that does nothing else.
FULL = "--full" in sys.argv


def check(good, *why):
    if not good:
        sys.exit(" ".join(map(str, ("FAILED:", *why))))


def bar(seconds):
    """What may take so long. In the short form four times as long: it also runs where other work takes the cores, and must tell
    what is stuck from what is slow."""
    return seconds if FULL else 4 * seconds


class Postgres:
    """One server of the database, in a directory below that of the run."""

    def __init__(self, directory, name, port):
        self.directory, self.port = directory / name, port

    def do(self, verb, *more):
        subprocess.run(["tests/support/postgres.sh", verb, self.directory, *more], check=True)


class Node(Target):
    def __init__(self, cluster, number, database):
        super().__init__(FIRST_PORT + 2 * number)
        self.cluster, self.number, self.database, self.process = cluster, number, database, None
        self.name, self.management = "abc"[number], Target(self.port + 1)

    def start(self):
        directory = self.cluster.directory / f"{self.cluster.name}-{self.name}"
        directory.mkdir(exist_ok=True)
        env = {
            **os.environ,
            "SIGNET_ISSUER": self.cluster.issuer,
            "SIGNET_NODE": self.name,
            "SIGNET_LISTEN": f"127.0.0.1:{self.port}",
            "SIGNET_MANAGEMENT_LISTEN": f"127.0.0.1:{self.management.port}",
            "SIGNET_STORE": self.database,
            "SIGNET_KEYS_KEK_FILE": str(self.cluster.directory / "kek"),
            "SIGNET_KEYS_ALGORITHMS": "ES256,EdDSA",
            "SIGNET_CODES_LIFETIME": "10m",
            "SIGNET_LOG__FILTER": "warn",
            **{f"SIGNET_LIMITS_{limit.upper()}": "0" for limit in LIMITS},
            **{f"SIGNET_{name.upper().replace('.', '_')}": value for name, value in self.cluster.settings.items()},
        }
        with open(directory / "banner", "ab") as banner, open(directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.cluster.binaries / "signet"], cwd=directory, env=env, stdout=banner, stderr=log
            )
        self.banner, self.log = directory / "banner", directory / "log"

    async def ready(self, seconds=20):
        for _ in range(20 * seconds):
            check(self.process.poll() is None, self.name, "did not start:", self.log.read_text()[-2000:])
            try:
                if (await self.management.get("/health/ready", 2)).status == 200:
                    return
            except Broken:
                pass
            await asyncio.sleep(0.05)
        check(False, self.name, "is not ready:", self.log.read_text()[-2000:])

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.idle.clear()

    def files(self):
        """How many it has open: a request that waits holds its connection."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def ran(self):
        """For how many seconds of processor time it has run (proc(5))."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self):
        """In MiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    async def administer(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {await self.cluster.admin_token(self)}", "Content-Type": JSON}
        return await self.send(method, path, body, headers)

    async def token(self, client, limit=10.0, **more):
        return await self.form("/oauth2/token", limit, **client, grant_type="client_credentials", **more)

    async def redeem(self, client, code):
        more = {"redirect_uri": REDIRECT_URI, "code_verifier": VERIFIER, "code": code}
        return await self.form("/oauth2/token", **client, grant_type="authorization_code", **more)

    async def refresh(self, client, token, limit=10.0):
        return await self.form("/oauth2/token", limit, **client, grant_type="refresh_token", refresh_token=token)

    async def active(self, client, token):
        answer = await self.form("/oauth2/introspect", **client, token=token)
        check(answer.status == 200, "introspection:", answer)
        return answer.member("active")


class Cluster:
    """Three nodes over a database of their own, in which `prepared` is done before they start; ended by `stop`."""

    def __init__(self, binaries, directory, name, prepared="", **settings):
        self.prepared = prepared
        self.binaries, self.directory, self.name, self.settings = binaries, directory, name, settings
        self.issuer = f"http://127.0.0.1:{FIRST_PORT}"
        self.primary = Postgres(directory, "primary", PRIMARY)
        self.standby = Postgres(directory, "standby", STANDBY)
        self.others, self.nodes, self.administrator = [], [], None

    def database(self, *ports):
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports or (PRIMARY, STANDBY))
        return f"postgres://signet@{hosts}/{self.name}"

    async def start(self, databases):
        command = ["psql", "-X", "-q", "-h", "127.0.0.1", "-p", str(PRIMARY), "-U", "signet", "-d", "postgres"]
        subprocess.run([*command, "-c", f"CREATE DATABASE {self.name}"], check=True)
        if self.prepared:
            subprocess.run([*command, "-d", self.name, "-c", self.prepared.format(name=self.name)], check=True)
        self.nodes = [Node(self, number, database) for number, database in enumerate(databases)]
        for node in self.nodes:
            node.start()
            await node.ready()
        banner = self.nodes[0].banner.read_text()
        shown = re.search(r"administrator\s+client_id\s+(\S+)\s+client_secret\s+(\S+)", banner)
        self.administrator = {"client_id": shown[1], "client_secret": shown[2]}

    async def stop(self):
        for node in self.nodes:
            if node.process and node.process.poll() is None:
                node.process.terminate()
        for other in self.others:
            other.kill()
        for process in [node.process for node in self.nodes if node.process] + self.others:
            process.wait()

    async def resource_server(self):
        """The example's, which verifies offline; started once."""
        api = Target(RESOURCE_SERVER)
        if not self.others:
            command = [self.binaries / "examples/resource_server", "--issuer", self.issuer, "--audience", RESOURCE]
            with open(self.directory / f"{self.name}-resource_server", "wb") as log:
                listen = ["--listen", f"127.0.0.1:{RESOURCE_SERVER}"]
                self.others.append(subprocess.Popen(command + listen, stdout=log, stderr=log))
            for _ in range(200):
                try:
                    await api.get("/products")
                    return api
                except Broken:
                    await asyncio.sleep(0.05)
            check(False, "the resource server does not answer")
        return api

    async def admin_token(self, node):
        answer = await node.token(self.administrator)
        if answer.status != 200:
            raise Broken(f"the administrator's token: {answer}")
        return answer.member("access_token")

    async def client(self, node, **more):
        """Registered at `node`."""
        request = {
            "client_name": "Cluster",
            "scope": "read offline_access",
            "resources": [RESOURCE],
            "redirect_uris": [REDIRECT_URI],
            "consent": "implied",
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
            "token_endpoint_auth_method": "client_secret_post",
            **more,
        }
        answer = await node.administer("POST", "/admin/clients", request)
        if answer.status != 201:
            raise Broken(f"registration: {answer}")
        return {name: answer.member(name) for name in ("client_id", "client_secret")}

    async def everywhere(self, client):
        """Returns when every node knows the client."""
        for node in self.nodes:
            for _ in range(100):
                if (await node.token(client)).status == 200:
                    break
                await asyncio.sleep(0.05)
            else:
                check(False, node.name, "does not know the client")

    async def sign_in(self, client):
        """The cookies of somebody who has signed in."""
        node = self.nodes[0]
        person = {"name": "Somebody", "email": "somebody@example.com", "password": PASSWORD}
        registered = await node.administer("POST", "/admin/users", person)
        check(registered.status == 201, "an account:", registered)
        return await self.session(client)

    async def session(self, client):
        """The cookies of another session of the same person."""
        node = self.nodes[0]
        jar, action, fields = await self.sign_in_page(node, client)
        answer = await node.send("POST", action, fields, {"Cookie": joined(jar)})
        for _ in range(6):
            keep(jar, answer)
            location = answer.headers.get("location", [""])[0].removeprefix(self.issuer)
            if location.startswith(REDIRECT_URI):
                return joined(jar)
            check(location, "signing in:", answer)
            answer = await node.get(location, Cookie=joined(jar))
        return check(False, "signing in:", answer)

    async def sign_in_page(self, node, client):
        """The cookies with which it is sent off, where to, and its fields, filled in."""
        jar, location = {}, authorization(client)
        for _ in range(4):
            answer = await node.get(location, Cookie=joined(jar))
            keep(jar, answer)
            if answer.status == 200:
                page, fields = answer.body.decode(), {}
                for tag in re.findall(r"<input[^>]*>", page):
                    if 'type="hidden"' in tag:
                        fields[re.search('name="([^"]*)"', tag)[1]] = re.search('value="([^"]*)"', tag)[1]
                fields |= {"username": "somebody@example.com", "password": PASSWORD}
                return jar, urllib.parse.urljoin(location, re.search('action="([^"]*)"', page)[1]), fields
            location = answer.headers.get("location", [""])[0].removeprefix(self.issuer)
            check(location, "signing in:", answer)
        return check(False, "signing in:", answer)

    async def key_keeper(self):
        """What asks for an API key that may read accounts."""
        scope, resources = "users:read", [f"{self.issuer}/users"]
        keeper = await self.client(self.nodes[0], scope=scope, resources=resources, grant_types=["client_credentials"])
        await self.everywhere(keeper)
        return {"name": "keeper", "client_id": keeper["client_id"], "scope": scope, "resources": resources}

    async def api_keys(self, keeper, number):
        made = [await self.nodes[0].administer("POST", "/admin/api-keys", keeper) for _ in range(number)]
        check(all(each.status == 201 for each in made), "API keys:", made[:1])
        return [each.member("api_key") for each in made]

    async def authorize(self, node, client, cookies, limit=10.0):
        """Asks for a code as somebody's browser does, who has signed in."""
        return await node.get(authorization(client), limit, Cookie=cookies)

    async def codes(self, client, cookies, number):
        async def some(node, count):
            found = []
            for _ in range(count):
                answer = await self.authorize(node, client, cookies)
                code = re.search(r"[?&]code=([^&]*)", answer.headers.get("location", [""])[0])
                check(code, "no code:", answer)
                found.append(urllib.parse.unquote(code[1]))
            return found

        share, nodes = -(-number // 8), self.nodes[:2]
        found = await asyncio.gather(*(some(nodes[index % len(nodes)], share) for index in range(8)))
        return sum(found, [])[:number]


def authorization(client):
    return "/oauth2/authorize?" + urllib.parse.urlencode({
        "response_type": "code",
        "client_id": client["client_id"],
        "redirect_uri": REDIRECT_URI,
        "scope": "read offline_access",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    })


def keep(jar, answer):
    for cookie in answer.headers.get("set-cookie", []):
        name, value = cookie.split(";")[0].split("=", 1)
        jar[name] = value


def joined(jar):
    return "; ".join(f"{name}={value}" for name, value in jar.items())
