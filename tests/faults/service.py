"""What the scripts of this directory share: a service of their own, ways to ask it, and a report."""

import atexit
import base64
import http.client
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
FULL = os.environ.get("SIGNET_FAULTS") == "full"
RESOURCE = "http://127.0.0.1:9000"
HOST = "127.0.0.1"
# The scripts say ports from 18610 on; this moves them.
PORTS = int(os.environ.get("SIGNET_FAULTS_PORTS", "18610")) - 18610
# Where it is to be tried over PostgreSQL, the URL of an empty database.
STORE = {"SIGNET_STORE": os.environ["SIGNET_FAULTS_STORE"], "SIGNET_KEYS_KEK": "ab" * 32} if "SIGNET_FAULTS_STORE" in os.environ else {}
WITHOUT_LIMITS = {
    f"SIGNET_LIMITS__{name}": "off"
    for name in ["TOKEN_PER_ADDRESS", "REFUSED_PER_ADDRESS", "AUTHORIZE_PER_ADDRESS", "LOGIN_PER_ADDRESS"]
}


def binary():
    """`SIGNET_BIN`, or else the newest build."""
    if "SIGNET_BIN" in os.environ:
        return pathlib.Path(os.environ["SIGNET_BIN"])
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [target / kind / "signet" for kind in ("release", "debug")]
    built = [path for path in built if path.exists()]
    if not built:
        sys.exit("build the binary first: cargo build --release")
    return max(built, key=lambda path: path.stat().st_mtime)


def host():
    """Where the service is."""
    return os.environ.get("SIGNET_FAULTS_HOST", HOST)


def files_limit():
    """As many open files as may be; says how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def two_cores():
    """A core for the service, and one for all else; nothing where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return ({cores[0]}, set(cores[1:])) if len(cores) > 1 else None


class Service:
    """A running service. Its directory outlives a restart, and goes with `close`."""

    def __init__(self, port, directory=None, cores=None, cable=None, **settings):
        self.port, self.settings, self.cores = port + PORTS, {**WITHOUT_LIMITS, **STORE, **settings}, cores
        self.inside, host = cable or ([], HOST)
        # Here, and in the processes of good clients.
        os.environ["SIGNET_FAULTS_HOST"] = host
        self.directory = pathlib.Path(directory or tempfile.mkdtemp(prefix="signet-faults-"))
        self.log = tempfile.NamedTemporaryFile("w+", prefix="signet-faults-log-")
        self.banner = ""
        atexit.register(self.kill)
        self.start()

    def start(self):
        environment = {
            "SIGNET_LISTEN": f"{host()}:{self.port}",
            "SIGNET_MANAGEMENT_LISTEN": f"{host()}:{self.port + 1}",
            "SIGNET_LOG__FILTER": "warn",
            "PATH": os.environ["PATH"],
            # It has no name at an address that is not this machine's.
            **({"SIGNET_ISSUER": f"http://127.0.0.1:{self.port}"} if self.inside else {}),
            **self.settings,
        }
        banner = tempfile.NamedTemporaryFile("w+")
        # Whoever else works on this machine is not to be measured: as root its turn comes first.
        place = ["nice", "-n", "-15", "taskset", "-c", ",".join(map(str, self.cores))] if self.cores else []
        self.process = subprocess.Popen(
            [*self.inside, *place, binary()],
            cwd=self.directory, env=environment, stdout=banner, stderr=self.log,
        )
        begun = time.monotonic()
        while True:
            if self.process.poll() is not None:
                self.failed_to_start(f"it did not start: {self.process.returncode}")
            try:
                # It listens before it has said so.
                if self.ready()[0] in (200, 503) and pathlib.Path(banner.name).read_text():
                    break
            except OSError:
                pass
            if time.monotonic() - begun > 60:
                self.failed_to_start("it is not ready")
            time.sleep(0.01)
        text = pathlib.Path(banner.name).read_text()
        self.banner = self.banner or text
        self.started_in = time.monotonic() - begun

    def failed_to_start(self, reason):
        fail(self, reason)

    def credentials(self, role):
        lines = self.banner.splitlines()
        at = next(number for number, line in enumerate(lines) if role in line)
        return lines[at].split()[-1], lines[at + 1].split()[-1]

    def ready(self):
        status, _, body = ask(self.port + 1, "GET", "/health/ready")
        return status, json.loads(body)

    def metric(self, name, unless=None):
        """The figure of that name, and `unless` there is none yet."""
        _, _, body = ask(self.port + 1, "GET", "/metrics")
        lines = (line.rsplit(None, 1) for line in body.decode().splitlines() if line and line[0] != "#")
        found = [float(value) for each, value in lines if each == name]
        return found[0] if found or unless is None else unless

    def token(self, role="demo client"):
        status, _, body = ask(self.port, "POST", "/oauth2/token", form({"grant_type": "client_credentials"}),
                              basic(self.credentials(role)))
        if status != 200:
            fail(self, f"no token: {status} {body}")
        return json.loads(body)["access_token"]

    def resident(self, name="VmRSS"):
        """In MiB."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
        return 0.0

    def ran(self):
        """For how many seconds its threads ran so far, and for how many they waited for a core on which others were running."""
        run = wait = 0
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            try:
                times = pathlib.Path(f"/proc/{self.process.pid}/task/{thread}/schedstat").read_text().split()
                run, wait = run + int(times[0]), wait + int(times[1])
            except OSError:
                pass
        return run / 1e9, wait / 1e9

    def files(self):
        """How many it has open, its connections among them."""
        listed = f"/proc/{self.process.pid}/fd"
        # Since Linux 6.2 by its size. To read a directory of thousands keeps the kernel on a core for milliseconds, in which
        # nobody else there is served.
        return os.stat(listed).st_size or len(os.listdir(listed))

    def logged(self, word):
        return word in pathlib.Path(self.log.name).read_text()

    def stop(self, how=signal.SIGTERM, patience=40):
        """The exit code, and how long it took."""
        begun = time.monotonic()
        self.process.send_signal(how)
        code = self.process.wait(patience)
        return code, time.monotonic() - begun

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def close(self):
        self.kill()
        if self.logged("panicked"):
            fail(self, "it panicked")
        shutil.rmtree(self.directory, ignore_errors=True)


class ResourceServer:
    """The example's, which verifies offline what the service issues."""

    def __init__(self, service, port):
        self.port = port + PORTS
        program = binary().parent / "examples/resource_server"
        if not program.exists():
            sys.exit("build it first: cargo build --release --example resource_server")
        flags = ["--issuer", f"http://127.0.0.1:{service.port}", "--audience", RESOURCE, "--listen", f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen([program, *flags], stderr=service.log)
        atexit.register(self.close)
        begun = time.monotonic()
        while True:
            try:
                ask(self.port, "GET", "/products")
                break
            except OSError:
                if time.monotonic() - begun > 20 or self.process.poll() is not None:
                    fail(service, "the resource server does not answer")
                time.sleep(0.05)

    def opens(self, token):
        """What it answers to whoever comes with this token."""
        return ask(self.port, "GET", "/products", None, {"Authorization": "Bearer " + token})[0]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def basic(credentials):
    return {"Authorization": "Basic " + base64.b64encode(":".join(credentials).encode()).decode()}


def form(members):
    return urllib.parse.urlencode(members)


def ask(port, method, path, body=None, headers=None, patience=30):
    """Status, headers and body of one request on a connection of its own."""
    connection = http.client.HTTPConnection(host(), port, timeout=patience)
    headers = dict(headers or {})
    if body is not None:
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()


def kid(token):
    head = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]


def apart(service, work):
    """What `work` gives, and for how much of each second the service ran meanwhile and waited while others ran on its core."""
    before, begun = service.ran(), time.monotonic()
    came = work()
    took = time.monotonic() - begun
    return came, [(now - was) / took for now, was in zip(service.ran(), before)]


def undisturbed(before, during):
    """Of two `apart`: whether nobody else took the service's core in the second and not in the first. Its threads wait for each other for no
    longer than they run; what is beyond that, others have taken."""
    return during[1] - during[0] <= 1.5 * before[1] + 0.05


def say(text):
    print(text, flush=True)


def fail(service, reason):
    log = pathlib.Path(service.log.name).read_text()[-3000:] if service else ""
    if service and service.process.poll() is None:
        service.process.kill()
    print(f"FAILED: {reason}\n{log}", file=sys.stderr, flush=True)
    os._exit(1)


def passed_over(name, reason):
    """Ends a script that can't be tried here; for who wants the full figures that is a failure."""
    if FULL:
        fail(None, f"{name}: {reason}")
    say(f"{name}: PASSED OVER: {reason}")
    raise SystemExit(0)


def connect(port, receive=None):
    one = socket.socket()
    if receive:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    one.settimeout(20)
    one.connect((host(), port))
    return one
