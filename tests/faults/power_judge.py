"""Asks a service that was started on what a power cut left for everything that had been acknowledged before."""

import collections
import http.client
import json
import pathlib
import subprocess
import time

import power_load
from person import REDIRECT_URI, VERIFIER
from service import RESOURCE, Service, basic, binary, form, kid

# Of each kind of act, how many are looked for: the newest, which are the ones at risk, and some of the others.
NEWEST, OLDER = 12, 6


class DidNotStart(Exception):
    pass


class Survivor(Service):
    """A service that may not start: then `reason` says why."""

    def __init__(self, port, directory, site):
        self.site = site
        for _ in range(5):
            self.reason = None
            try:
                super().__init__(port, directory, **power_load.SETTINGS)
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                return
            except DidNotStart as error:
                self.reason = str(error)
            # Some connection has been given this port: nothing was opened, and it may be tried again.
            if "Address already in use" not in self.reason:
                return
            time.sleep(1)

    def failed_to_start(self, reason):
        self.kill()
        lines = [line for line in pathlib.Path(self.log.name).read_text().splitlines() if line and " WARN " not in line]
        raise DidNotStart(f"{reason}: {' / '.join(lines)[-600:]}")

    def credentials(self, role):
        return tuple(self.site[role])

    def ask(self, method, path, body=None, headers=None):
        headers = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body[:1] == b"{" else body

    def token(self, role="demo client"):
        status, said = self.ask("POST", "/oauth2/token", form({"grant_type": "client_credentials"}), basic(self.credentials(role)))
        if status != 200:
            raise Lost(f"no token for the {role}: {status} {said}")
        return said["access_token"]


class Lost(Exception):
    """What was lost is needed to look for the rest."""


def told(acts, first, marks):
    """The acts by kind, as they stood when the power went: number, act, and whether its answer had been heard. Those before `first`
    are of an earlier day."""
    heard = {int(mark[4:]) for mark in marks if mark.startswith("ack ")}
    asked = {int(mark[4:]) for mark in marks if mark.startswith("ask ")}
    kinds = collections.defaultdict(list)
    for number, act in acts.items():
        if number < first or number in asked:
            kinds[act["kind"]].append((number, act, act["heard"] if number < first else number in heard))
    return kinds


class Judge:
    def __init__(self, service, kinds, chance):
        self.service, self.kinds, self.chance = service, kinds, chance
        self.lost, self.asked = [], collections.Counter()

    def expect(self, what, expected, found):
        self.asked[what] += 1
        if found != expected:
            self.lost.append(f"{what}: {found} instead of {expected}")

    def judge(self):
        try:
            self.admin = {"Authorization": "Bearer " + self.service.token("administrator"), "Content-Type": "application/json"}
            self.client = basic(self.service.site["client"])
            self.demo = basic(self.service.credentials("demo client"))
            self.registrations()
            self.revocations()
            self.families()
            self.rotation()
            self.audit_log()
            # Last, because it ends what came of them.
            self.codes()
            body = json.dumps({"client_name": "x", "scope": "", "resources": [RESOURCE]})
            self.expect("new write", 201, self.service.ask("POST", "/admin/clients", body, self.admin)[0])
        except (Lost, OSError, http.client.HTTPException) as error:
            self.lost.append(repr(error))
        if self.service.logged("panicked"):
            self.lost.append("it panicked")

    def some(self, acts):
        return acts[-NEWEST:] + self.chance.sample(acts[:-NEWEST], min(OLDER, len(acts[:-NEWEST])))

    def heard(self, kind):
        return self.some([act for _, act, heard in self.kinds[kind] if heard])

    def status(self, path):
        return self.service.ask("GET", "/admin/" + path, None, self.admin)[0]

    def active(self, token, client):
        return self.service.ask("POST", "/oauth2/introspect", form({"token": token}), client)[1]["active"]

    def registrations(self):
        deleting = {act["id"] for _, act, _ in self.kinds["delete"]}
        for act in self.heard("client"):
            if act["id"] not in deleting:
                self.expect("client", 200, self.status("clients/" + act["id"]))
        for act in self.heard("delete"):
            self.expect("deletion", 404, self.status("clients/" + act["id"]))
        for act in self.heard("user"):
            self.expect("user", 200, self.status("users/" + act["id"]))

    def revocations(self):
        for act in self.heard("revoke"):
            self.expect("revocation", False, self.active(act["token"], self.demo))
        # Those that nobody revoked: or else "not active" would mean nothing.
        for act in self.heard("token"):
            self.expect("token", True, self.active(act["token"], self.demo))

    def families(self):
        refreshes, ends = collections.defaultdict(list), {act["family"]: heard for _, act, heard in self.kinds["end"]}
        for _, act, heard in self.kinds["refresh"]:
            refreshes[act["family"]].append((act, heard))
        for number, act, _ in self.some([each for each in self.kinds["code"] if each[2]]):
            tokens = [act["refresh"]] + [each["refresh"] for each, heard in refreshes[number] if heard]
            for token in tokens[:-1]:
                self.expect("spent refresh token", False, self.active(token, self.client))
            if ends.get(number):
                self.expect("ended grant", False, self.active(tokens[-1], self.client))
            elif number not in ends and all(heard for _, heard in refreshes[number]):
                self.expect("refresh token", True, self.active(tokens[-1], self.client))

    def rotation(self):
        rotations = self.kinds["rotate"]
        # One that was asked for and not heard of may have been done, or not.
        if rotations and rotations[-1][2]:
            self.expect("rotation", True, kid(self.service.token()) in rotations[-1][1]["kids"])

    def codes(self):
        for act in self.heard("code")[-3:]:
            members = {"grant_type": "authorization_code", "code": act["code"], "redirect_uri": REDIRECT_URI,
                       "code_verifier": VERIFIER}
            status, said = self.service.ask("POST", "/oauth2/token", form(members), self.client)
            self.expect("spent code", (400, "invalid_grant"), (status, said.get("error")))

    def audit_log(self):
        path = self.service.directory / "data/audit.jsonl"
        recorded = path.read_text()
        for act in self.heard("client") + self.heard("delete"):
            self.expect("audit entry", True, act["id"] in recorded)
        verified = subprocess.run([binary(), "audit", "verify", "--file", path], cwd=self.service.directory, capture_output=True,
                                  text=True)
        self.expect("audit chain", 0, verified.returncode)
        if verified.returncode:
            self.lost.append(verified.stdout + verified.stderr)
