"""What is written before the power goes: a service under load, and a note of every act before it is asked for and after its answer.

power_load.py DIRECTORY PORT SECONDS STARTS MARKS HISTORY CODES

The notes are lines in the file MARKS, `ask N` and `ack N`, so that whoever records this process has them in their place among the
service's own calls. HISTORY, if it is there, is gone on with. CODES is how long a code lives: the next start removes in one go what
has expired.
"""

import itertools
import json
import os
import pathlib
import re
import secrets
import signal
import sys
import threading
import time
import urllib.parse

from person import AUTHORIZE, NAME, PASSWORD, REDIRECT_URI, VERIFIER
from service import RESOURCE, Service, ask, basic, fail, form

# Nothing may count as over only because it is old: judging takes longer than writing.
SETTINGS = {"SIGNET_ISSUER": "http://127.0.0.1:18670", "SIGNET_TOKENS__LIFETIME": "12h", "SIGNET_CODES__LIFETIME": "10m"}


class History:
    """Every act by its number: what it was, and whether its answer was heard."""

    def __init__(self, path, marks):
        self.path, self.acts = pathlib.Path(path), {}
        self.site = {}
        if self.path.exists():
            known = json.loads(self.path.read_text())
            self.site, self.acts = known["site"], {int(number): act for number, act in known["acts"].items()}
        self.numbers = itertools.count(len(self.acts))
        self.marks = os.open(marks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def ask(self, kind, **known):
        number = next(self.numbers)
        self.acts[number] = {"kind": kind, "heard": False, **known}
        os.write(self.marks, f"ask {number}\n".encode())
        return number

    def heard(self, number, **known):
        self.acts[number].update(heard=True, **known)
        os.write(self.marks, f"ack {number}\n".encode())

    def save(self):
        self.path.write_text(json.dumps({"site": self.site, "acts": self.acts}))


class Gone(Exception):
    """It is over."""


class Load:
    def __init__(self, service, history):
        self.service, self.history, self.over = service, history, threading.Event()
        self.admin = {"Authorization": "Bearer " + service.token("administrator"), "Content-Type": "application/json"}
        if not history.site:
            self.set_up()
        self.client = basic(history.site["client"])
        self.sign_in()

    def ask(self, expected, *request):
        if self.over.is_set():
            raise Gone()
        try:
            status, headers, body = ask(self.service.port, *request)
        except OSError as error:
            raise Gone() from error
        if status != expected:
            fail(self.service, f"{request[:3]} was answered with {status}: {body[:300]}")
        return headers, json.loads(body) if body[:1] == b"{" else body.decode()

    def administer(self, expected, method, path, **members):
        return self.ask(expected, method, "/admin/" + path, json.dumps(members), self.admin)[1]

    def set_up(self):
        made = self.administer(201, "POST", "clients", client_name="Load", scope="read offline_access", resources=[RESOURCE],
                               redirect_uris=[REDIRECT_URI], consent="implied")
        self.administer(201, "POST", "users", name="Ada Lovelace", email=NAME, password=PASSWORD)
        self.history.site = {
            "client": [made["client_id"], made["client_secret"]],
            "demo client": self.service.credentials("demo client"), "administrator": self.service.credentials("administrator"),
        }

    def sign_in(self):
        def cookies(headers):
            return [value.split(";")[0] for value in headers.get_all("Set-Cookie", [])]

        self.authorize = f"{AUTHORIZE}&client_id={self.history.site['client'][0]}"
        headers, page = self.ask(200, "GET", self.authorize)
        before = cookies(headers)
        state = re.search('name="state" value="([^"]*)"', page)[1]
        headers, _ = self.ask(303, "POST", "/oauth2/sign-in", form({"state": state, "username": NAME, "password": PASSWORD}),
                              {"Cookie": "; ".join(before)})
        self.cookie = {"Cookie": "; ".join(before + cookies(headers))}

    def clients(self):
        for count in itertools.count():
            name = secrets.token_hex(8)
            act = self.history.ask("client", id=name)
            self.administer(201, "POST", "clients", client_id=name, client_name="x" * 120, scope="", resources=[RESOURCE])
            self.history.heard(act)
            if count % 3 == 0:
                act = self.history.ask("delete", id=name)
                self.ask(204, "DELETE", "/admin/clients/" + name, None, self.admin)
                self.history.heard(act)

    def users(self):
        while True:
            act = self.history.ask("user")
            made = self.administer(201, "POST", "users", name="Somebody", email=secrets.token_hex(8) + "@example.com")
            self.history.heard(act, id=made["id"])

    def revocations(self):
        for count in itertools.count():
            token = self.ask(200, "POST", "/oauth2/token", form({"grant_type": "client_credentials"}),
                             basic(self.service.credentials("demo client")))[1]["access_token"]
            if count % 8 == 0:
                self.history.heard(self.history.ask("token", token=token))
                continue
            act = self.history.ask("revoke", token=token)
            self.ask(200, "POST", "/oauth2/revoke", form({"token": token}), basic(self.service.credentials("demo client")))
            self.history.heard(act)

    def grants(self):
        for count in itertools.count():
            headers, _ = self.ask(303, "GET", self.authorize, None, self.cookie)
            code = urllib.parse.parse_qs(urllib.parse.urlsplit(headers["Location"]).query)["code"][0]
            family = act = self.history.ask("code", code=code)
            members = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI, "code_verifier": VERIFIER}
            tokens = self.ask(200, "POST", "/oauth2/token", form(members), self.client)[1]
            self.history.heard(act, access=tokens["access_token"], refresh=tokens["refresh_token"])
            for _ in range(count % 4):
                act = self.history.ask("refresh", family=family)
                members = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
                tokens = self.ask(200, "POST", "/oauth2/token", form(members), self.client)[1]
                self.history.heard(act, refresh=tokens["refresh_token"])
            if count % 5 == 0:
                act = self.history.ask("end", family=family)
                self.ask(200, "POST", "/oauth2/revoke", form({"token": tokens["refresh_token"]}), self.client)
                self.history.heard(act)

    def rotations(self):
        while not self.over.wait(0.3):
            act = self.history.ask("rotate")
            answer = self.administer(200, "POST", "keys/rotate", force=True)
            self.history.heard(act, kids=[each["kid"] for each in answer["rotations"]])

    def run(self, seconds):
        def work(of):
            try:
                of()
            except Gone:
                pass

        kinds = [self.clients, self.users, self.revocations, self.revocations, self.grants, self.grants, self.grants, self.rotations]
        threads = [threading.Thread(target=work, args=(each,), daemon=True) for each in kinds]
        [thread.start() for thread in threads]
        time.sleep(seconds)
        return threads


def main(directory, port, seconds, starts, marks, history, codes):
    os.chdir(directory)
    history = History(history, marks)
    service = Service.__new__(Service)
    # Its banner, with the secrets, is shown by the first start only.
    known = history.site and {role: tuple(history.site[role]) for role in ("demo client", "administrator")}
    if known:
        Service.credentials = lambda self, role: known[role]
    # Nothing is told to anybody before the first start is over.
    first = None if known else history.ask("first start")
    service.__init__(int(port), directory, **{**SETTINGS, "SIGNET_CODES__LIFETIME": codes})
    for start in range(int(starts)):
        if start:
            service.start()
        load = Load(service, history)
        if first is not None:
            history.heard(first)
            first = None
        threads = load.run(float(seconds))
        # Killed in the middle of it, so that much is left that was never synced; but stopped first, since of a write that is
        # killed nobody would know how much of it was done.
        service.process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        service.kill()
        load.over.set()
        [thread.join() for thread in threads]
    history.save()


if __name__ == "__main__":
    main(*sys.argv[1:])
