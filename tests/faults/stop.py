"""Row 18: SIGTERM under load. Nothing that was begun is cut off, what was acknowledged is there at the next start, and the service says
that it is not ready before it goes.

What counts as cut, of a request that was sent on an open connection:

- A byte of its answer came, and not all of it.
- No byte came, and the service took it: at the next start, what it asked for is done. Then its client would have to send it again without
  knowing that it was heard (RFC 9112, section 9.3.1, allows that only for what may be done twice).

A connection on which nothing is under way may be closed at any time (RFC 9112, section 9.5), also as a request is on its way. Of that nothing may be done: the
code is not spent, the refresh token still counts, the token is not revoked, the client is not there. So each such act is looked for afterwards; a token by
client credentials and a code that is asked for leave nothing to be found by, and nothing that their client would have to know. Requests whose head was taken
before the signal and whose body comes after it are under way without doubt: one of each kind, and all have to succeed.
"""

import collections
import json
import random
import re
import secrets
import signal
import threading
import time
import urllib.parse

from person import AUTHORIZE, NAME, PASSWORD, REDIRECT_URI, VERIFIER
from service import FULL, RESOURCE, STORE, Service, ask, basic, connect, fail, form, say

ROUNDS = 100 if FULL else 12
chance = random.Random(18)
# What is not done may not look done because it is old.
service = Service(18620, SIGNET_CODES__LIFETIME="10m")
DEMO = basic(service.credentials("demo client"))


class Over(Exception):
    """The service takes no more, or took nothing of what was sent last."""


class Lost(Over):
    """No byte of an answer came."""


def whole(text):
    """Whether it is one whole answer, by its own length."""
    head, gap, body = text.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    return bool(gap) and bool(lengths) and len(body) == int(lengths[0])


def read(one):
    """What came of one answer."""
    text = b""
    while not whole(text):
        try:
            part = one.recv(65536)
        except ConnectionError:
            part = b""
        if not part:
            break
        text += part
    return text


class Answer:
    def __init__(self, text, expected):
        """Fails if it is not whole, or another than was expected."""
        if not whole(text):
            fail(service, f"an answer was cut: {text[:300]}")
        head, _, self.body = text.partition(b"\r\n\r\n")
        self.head = head.decode()
        if self.head.split(" ")[1] != str(expected):
            fail(service, f"not answered with {expected}: {text[:600]}")

    def json(self):
        return json.loads(self.body)

    def code(self):
        location = re.search(r"(?im)^location: (\S+)", self.head)[1]
        return urllib.parse.parse_qs(urllib.parse.urlsplit(location).query)["code"][0]


class Request:
    """One that is expected to be answered with this status."""

    def __init__(self, expected, method, path, body="", headers=None):
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": len(body), **(headers or {})}
        lines = [f"{method} {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items())]
        self.expected, self.head, self.body = expected, ("\r\n".join(lines) + "\r\n\r\n").encode(), body.encode()


class Kept:
    """A connection that is kept from one request to the next."""

    def __init__(self):
        self.one = None

    def ask(self, request):
        try:
            self.one = self.one or connect(service.port)
        except OSError as error:
            raise Over from error
        try:
            self.one.sendall(request.head + request.body)
            text = read(self.one)
        except TimeoutError:
            fail(service, f"no whole answer within {self.one.gettimeout():.0f} s: {request.head[:100]}")
        except OSError:
            text = b""
        if not text:
            self.one.close()
            self.one = None
            raise Lost
        answer = Answer(text, request.expected)
        if "\r\nconnection: close" in answer.head.lower():
            self.one.close()
            self.one = None
        return answer


def credentials():
    return Request(200, "POST", "/oauth2/token", "grant_type=client_credentials", DEMO)


def authorize():
    return Request(303, "GET", site.authorize, headers=site.cookie)


def redeem(code, expected=200):
    members = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI, "code_verifier": VERIFIER}
    return Request(expected, "POST", "/oauth2/token", form(members), site.client)


def refresh(token):
    return Request(200, "POST", "/oauth2/token", form({"grant_type": "refresh_token", "refresh_token": token}), site.client)


def revoke(token, client):
    return Request(200, "POST", "/oauth2/revoke", form({"token": token}), client)


def register(name):
    members = {"client_id": name, "client_name": "Stop", "scope": "read", "resources": [RESOURCE]}
    return Request(201, "POST", "/admin/clients", json.dumps(members), site.admin)


class Site:
    """Who asks: a client of people, somebody who has signed in, and an administrator."""

    def __init__(self):
        self.renew()
        made = self.administer("clients", client_name="Load", scope="read offline_access", resources=[RESOURCE],
                               redirect_uris=[REDIRECT_URI], consent="implied")
        self.administer("users", name="Ada Lovelace", email=NAME, password=PASSWORD)
        self.client = basic((made["client_id"], made["client_secret"]))
        self.authorize = f"{AUTHORIZE}&client_id={made['client_id']}"

        def cookies(headers):
            return [value.split(";")[0] for value in headers.get_all("Set-Cookie", [])]

        _, headers, page = ask(service.port, "GET", self.authorize)
        before, state = cookies(headers), re.search('name="state" value="([^"]*)"', page.decode())[1]
        members = form({"state": state, "username": NAME, "password": PASSWORD})
        _, headers, _ = ask(service.port, "POST", "/oauth2/sign-in", members, {"Cookie": "; ".join(before)})
        self.cookie = {"Cookie": "; ".join(before + cookies(headers))}

    def renew(self):
        """The administrator's token doesn't live long."""
        self.admin = {"Authorization": "Bearer " + service.token("administrator"), "Content-Type": "application/json"}

    def administer(self, path, **members):
        status, _, body = ask(service.port, "POST", "/admin/" + path, json.dumps(members), self.admin)
        if status != 201:
            fail(service, f"{path}: {status} {body}")
        return json.loads(body)


class Family:
    """What is known of a code and of what came of it."""

    def __init__(self, code):
        # The refresh tokens that were heard of, oldest first, and what was asked for last, if that was not heard.
        self.code, self.access, self.heard, self.ended, self.unheard = code, None, [], False, None

    def act(self, kept, kind, counts):
        request = {"codes": lambda: redeem(self.code), "refreshes": lambda: refresh(self.heard[-1]),
                   "ended grants": lambda: revoke(self.heard[-1], site.client)}[kind]()
        self.sent(kind, lambda: kept.ask(request), counts)

    def sent(self, kind, answered, counts):
        try:
            answer = answered()
        except Lost:
            self.unheard = kind
            raise
        if kind == "ended grants":
            self.ended = True
        else:
            tokens = answer.json()
            self.access = tokens["access_token"]
            self.heard.append(tokens["refresh_token"])
        counts[kind] += 1

    def check(self, kept):
        """What was heard holds, what was not heard is not done."""
        if not self.heard:
            # 200: it was not spent.
            if self.unheard:
                kept.ask(redeem(self.code))
            return
        for token, alive in [*((each, False) for each in self.heard[:-1]), (self.heard[-1], not self.ended), (self.access, not self.ended)]:
            if active(kept, token, site.client) != alive:
                fail(service, f"after {len(self.heard) - 1} refreshes{', ended' * self.ended}{', unheard: ' + self.unheard if self.unheard else ''}: "
                     f"a token {'does not count' if alive else 'counts'}")
        # What a code is spent for is over once it comes again.
        if kept.ask(redeem(self.code, 400)).json()["error"] != "invalid_grant":
            fail(service, "a code that was spent is refused as something else")


def active(kept, token, client):
    return kept.ask(Request(200, "POST", "/oauth2/introspect", form({"token": token}), client)).json()["active"]


class Round:
    """Clients of all kinds, the signal in the middle of it, and what they were told."""

    def __init__(self):
        # Of each kind: how many were answered, and how many connections ended without a byte of an answer.
        self.told, self.lost = collections.Counter(), collections.Counter()
        self.families, self.revoked, self.registered, self.slow = [], {}, {}, []

    def tokens(self, kept):
        self.tell("tokens", lambda: kept.ask(credentials()))

    def grants(self, kept):
        code = self.tell("authorizations", lambda: kept.ask(authorize())).code()
        family = Family(code)
        self.families.append(family)
        for kind in ["codes", "refreshes", "refreshes"] + ["ended grants"] * (len(self.families) % 2):
            self.heard(kind, lambda: family.act(kept, kind, self.told))

    def revocations(self, kept):
        token = self.tell("tokens", lambda: kept.ask(credentials())).json()["access_token"]
        self.revoked[token] = False
        self.tell("revocations", lambda: kept.ask(revoke(token, DEMO)))
        self.revoked[token] = True

    def registrations(self, kept):
        name = secrets.token_hex(8)
        self.registered[name] = False
        self.tell("registrations", lambda: kept.ask(register(name)))
        self.registered[name] = True

    def tell(self, kind, act):
        answer = self.heard(kind, act)
        self.told[kind] += 1
        return answer

    def heard(self, kind, act):
        try:
            return act()
        except Lost:
            self.lost[kind] += 1
            raise

    def client(self, act, over):
        kept = Kept()
        while True:
            try:
                act(kept)
            except Over:
                if over.is_set():
                    return

    def prepare_slow(self):
        """One of each kind whose body is to be under way when the end comes."""
        kept = Kept()

        def family(tokens):
            one = Family(kept.ask(authorize()).code())
            self.families.append(one)
            if tokens:
                one.act(kept, "codes", self.told)
            return one

        spent, refreshed, ended = family(False), family(True), family(True)
        token, name = kept.ask(credentials()).json()["access_token"], secrets.token_hex(8)
        self.revoked[token] = self.registered[name] = True
        self.slow = [
            ("tokens", credentials(), None), ("codes", redeem(spent.code), spent), ("refreshes", refresh(refreshed.heard[-1]), refreshed),
            ("ended grants", revoke(ended.heard[-1], site.client), ended), ("revocations", revoke(token, DEMO), None),
            ("registrations", register(name), None),
        ]

    def begin_slow(self):
        """Their time begins here, and all of them are known to be taken (RFC 9110, section 10.1.1)."""
        begun = []
        for kind, request, of in self.slow:
            one = connect(service.port)
            one.sendall(request.head.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
            begun.append((kind, request, of, one))
        for kind, request, _, one in begun:
            if (told := one.recv(65536)) != b"HTTP/1.1 100 Continue\r\n\r\n":
                fail(service, f"a request was not taken: {kind}, {told[:300]}")
            one.sendall(request.body[:5])
        self.slow = begun

    def end_slow(self):
        for _, request, _, one in self.slow:
            one.sendall(request.body[5:])
        for kind, request, family, one in self.slow:
            text = read(one)
            if not text:
                fail(service, f"what was under way got no answer: {kind}")
            answer = Answer(text, request.expected)
            if family:
                family.sent(kind, lambda: answer, self.told)
            else:
                self.told[kind] += 1

    def run(self):
        """How long the end took."""
        self.prepare_slow()
        over = threading.Event()
        acts = [*[self.tokens] * 2, *[self.grants] * 6, *[self.revocations] * 4, *[self.registrations] * 2]
        clients = [threading.Thread(target=self.client, args=(act, over)) for act in acts]
        [thread.start() for thread in clients]
        time.sleep(0.2 + chance.random() * 0.3)
        self.begin_slow()
        over.set()
        begun = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        seen = []
        while (since := time.monotonic() - begun) < 0.4 or 503 not in seen and since < 5:
            try:
                seen.append(service.ready()[0])
            except OSError:
                seen.append(None)
            time.sleep(0.02)
        if 503 not in seen or None in seen:
            fail(service, f"while requests were under way, readiness was {seen}")
        self.end_slow()
        code = service.process.wait(40)
        took = time.monotonic() - begun
        [thread.join() for thread in clients]
        if code != 0 or took > 30:
            fail(service, f"it ended with {code} after {took:.1f} s")
        return took

    def check(self):
        kept = Kept()
        for family in self.families:
            family.check(kept)
        for token, told in self.revoked.items():
            if active(kept, token, DEMO) == told:
                fail(service, "a revocation that was acknowledged is gone" if told else "a token was revoked without an answer")
        for name, told in self.registered.items():
            kept.ask(Request(200 if told else 404, "GET", "/admin/clients/" + name, headers=site.admin))


site = Site()
told, lost, longest, asked = collections.Counter(), collections.Counter(), 0.0, 0
for number in range(ROUNDS):
    one = Round()
    longest = max(longest, one.run())
    service.start()
    site.renew()
    one.check()
    told.update(one.told)
    lost.update(one.lost)


def listed(counts):
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))


say(f"stop: {ROUNDS} x SIGTERM under load{' over PostgreSQL' if STORE else ''}: {told.total()} answers ({listed(told)}), 0 cut, and at the next start "
    f"all was there that they said; {6 * ROUNDS} of them were under way without doubt; {lost.total()} requests found a closed connection and got no byte, and nothing "
    f"was done of them ({listed(lost)}); not ready first {ROUNDS}/{ROUNDS}; the longest end took {longest:.2f} s")
service.close()
