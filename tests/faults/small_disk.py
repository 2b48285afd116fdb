"""A small file system that can be filled, and who writes to a service, reads from it and remembers what was acknowledged meanwhile."""

import contextlib
import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

from service import RESOURCE, ResourceServer, ask, basic, fail, form, passed_over

MIB = 1024 * 1024


class SmallDisk:
    """A file system of its own, for which it takes root."""

    def __init__(self, name, mode):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"signet-{name}-"))
        self.filler, self.lock = self.directory / "filler", threading.Lock()
        options = f"size=256m,mode={mode}"
        mounted = os.geteuid() == 0 and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.directory], capture_output=True
        ).returncode
        if not mounted:
            self.directory.rmdir()
            passed_over(name, "no file system can be mounted here; run it as root")
        # There from the start: a full file system may refuse to make one.
        self.filler.touch()

    def free(self):
        system = os.statvfs(self.directory)
        return system.f_bavail * system.f_frsize

    def fill(self, leave):
        """Takes all but `leave` bytes."""
        block = b"\0" * 65536
        with self.lock, open(self.filler, "r+b", buffering=0) as file:
            file.seek(0, os.SEEK_END)
            try:
                while (more := self.free() - leave) > 0:
                    file.write(block[:min(more, len(block))])
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def make_room(self):
        with self.lock:
            os.truncate(self.filler, 0)

    def remove(self):
        subprocess.run(["umount", "-l", self.directory], check=False)
        self.directory.rmdir()

    def try_out(self, run, clean_up=lambda: None):
        """Does `run`, cleans up whatever becomes of that, and ends as it did."""
        def all_of_it():
            try:
                clean_up()
            finally:
                self.remove()

        raise SystemExit(in_a_group(run, all_of_it))


def in_a_group(run, clean_up=lambda: None):
    """Does `run` in a process of its own, ends all that it started, cleans up whatever becomes of that, as `fail` ends it at once, and gives
    its exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    child = os.fork()
    if not child:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setpgid(0, 0)
        try:
            run()
        except BaseException:
            # At once, as `fail` does: a thread that never ends would be waited for. What it started is ended with its group.
            traceback.print_exc()
            os._exit(1)
        raise SystemExit(0)
    try:
        # The child does it too: whoever comes first.
        with contextlib.suppress(OSError):
            os.setpgid(child, child)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        clean_up()


class Load:
    """Clients that write, as long as it is not `over`; and one that asks for what needs no write."""

    def __init__(self, service, port):
        self.service = service
        # Which waits for the first keys: nothing is published before all of them are on disk.
        ask(service.port, "GET", "/.well-known/jwks.json")
        self.demo = basic(service.credentials("demo client"))
        self.admin = service.token("administrator")
        self.api, self.held = ResourceServer(service, port), service.token()
        self.acknowledged, self.revoked, self.lock = [], [], threading.Lock()
        self.counts = {"written": 0, "refused": 0, "published": 0, "verified": 0, "issued": 0}
        # Of all acknowledged, when that was asked for which was asked for last, and when the last was heard of; in seconds since the epoch.
        self.begun_last = self.heard_last = 0.0
        self.over, self.paused = threading.Event(), threading.Event()
        self.threads = [threading.Thread(target=self.write, args=(number,), daemon=True) for number in range(4)]
        [thread.start() for thread in self.threads]

    def as_administrator(self):
        return {"Authorization": "Bearer " + self.admin, "Content-Type": "application/json"}

    def issue(self):
        """What is answered to who asks for an access token by client credentials."""
        return ask(self.service.port, "POST", "/oauth2/token", form({"grant_type": "client_credentials"}), self.demo)

    def write(self, thread):
        number = 0
        while not self.over.is_set():
            if self.paused.is_set():
                time.sleep(0.01)
                continue
            number += 1
            name, begun = f"client-{thread}-{number}", time.time()
            try:
                if thread % 2:
                    body = json.dumps({"client_id": name, "client_name": "x", "scope": "", "resources": [RESOURCE]})
                    status, headers, _ = ask(self.service.port, "POST", "/admin/clients", body, self.as_administrator())
                    done, log, what = status == 201, self.acknowledged, name
                else:
                    what = json.loads(self.issue()[2])["access_token"]
                    begun = time.time()
                    status, headers, _ = ask(self.service.port, "POST", "/oauth2/revoke", form({"token": what}), self.demo)
                    done, log = status == 200, self.revoked
            except (OSError, KeyError, ValueError):
                # Not there, or it issues nothing: `reads` tells whether it should.
                time.sleep(0.01)
                continue
            heard = time.time()
            with self.lock:
                if done:
                    log.append(what)
                    self.counts["written"] += 1
                    self.begun_last, self.heard_last = max(self.begun_last, begun), max(self.heard_last, heard)
                elif status == 503 and "Retry-After" in headers:
                    self.counts["refused"] += 1
                else:
                    fail(self.service, f"a write was answered with {status}, Retry-After: {headers['Retry-After']}")
            if done and thread % 2:
                # At most a hundred a second each, however fast the machine: there is room for so many clients and what is logged of them.
                time.sleep(0.01)

    def reads(self, issues=True):
        """Asks once for all that needs no write, which must be had; a token only where the service `issues`, else it is 503."""
        for path in ["/.well-known/jwks.json", "/.well-known/openid-configuration", "/status"]:
            status = ask(self.service.port, "GET", path)[0]
            if status != 200:
                fail(self.service, f"{path} while nothing can be written: {status}")
            self.counts["published"] += 1
        # It fetches the status list anew whenever its copy is too old.
        status = self.api.opens(self.held)
        if status != 200:
            fail(self.service, f"a token that is verified offline while nothing can be written: {status}")
        self.counts["verified"] += 1
        status, headers, _ = self.issue()
        if status != 200 and (issues or status != 503 or "Retry-After" not in headers):
            fail(self.service, f"a token while nothing can be written: {status}, readiness {self.service.ready()}")
        self.counts["issued"] += status == 200

    def writes(self, more):
        return lambda: self.counts["written"] > more

    def settled(self):
        """How many were acknowledged when those were that had been begun before the disk was full."""
        begun = time.monotonic()
        while True:
            written = self.counts["written"]
            if wait_for(self.writes(written), 0.25) is None:
                return written
            if time.monotonic() - begun > 10:
                fail(self.service, "writes are acknowledged for 10 s while the disk is full")

    def stop(self):
        self.over.set()
        [thread.join(20) for thread in self.threads]

    def check(self):
        """Looks for what was acknowledged, in a service that knows nothing but what is stored."""
        self.service.stop()
        self.service.start()
        self.renew()
        self.look_for_acknowledged()

    def renew(self):
        """What was issued before may end."""
        self.admin, self.held = self.service.token("administrator"), self.service.token()

    def heard_of(self):
        """How many clients were acknowledged, and how many revocations."""
        return len(self.acknowledged), len(self.revoked)

    def look_for_acknowledged(self, since=(0, 0)):
        lost = [name for name in self.acknowledged[since[0]:]
                if ask(self.service.port, "GET", f"/admin/clients/{name}", None, self.as_administrator())[0] != 200]
        alive = [token for token in self.revoked[since[1]:] if json.loads(ask(
            self.service.port, "POST", "/oauth2/introspect", form({"token": token}), self.demo)[2])["active"]]
        if lost or alive:
            fail(self.service, f"{len(lost)} clients and {len(alive)} revocations that were acknowledged are lost")

    def told(self):
        counts = self.counts
        return (f"{counts['written']} writes acknowledged, 0 lost; {counts['refused']} refused with 503 and Retry-After; "
                f"{counts['published']} of {counts['published']} requests for keys, metadata and status served, "
                f"{counts['verified']} of {counts['verified']} tokens verified offline")


def wait_for(what, seconds):
    """How long it took; None if it did not come."""
    begun = time.monotonic()
    while not what():
        if time.monotonic() - begun > seconds:
            return None
        time.sleep(0.02)
    return time.monotonic() - begun
