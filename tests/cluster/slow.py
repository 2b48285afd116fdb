"""Commits take half a second, and then twice as long as a call may: a disk is saturated, or the standby far away.

Nothing that needs no commit may be slower for it, and no node may take the database for gone that answers. What needs a commit is done, or
503 in time; and whatever became of what was answered with 503, it is the same on every node, and at most once.
"""

import asyncio
import itertools
import time

from changes import BAR, on_all, part
from client import JSON, Load, outcomes, percentile, spread
from cluster import PASSWORD, RESOURCE, bar, check, joined
from freeze import MORE_FILES, MORE_MEMORY, NORMAL, SOON, Watch
from outages import Slowed
from races import POSTGRES_TIMEOUT

# How long commits take, in seconds: less than `postgres.timeout`, 1.5 unless set, and more.
TAKES = (0.5, 3.0)
# What a request that is sent away may take, calls included that were answered, and don't count for its patience.
SENT_AWAY = SOON + POSTGRES_TIMEOUT
# What a spent refresh token may be presented again for.
GRACE = 10.0
# What needs no commit: so much slower at the 99th percentile is looked at by whoever reads it. What others do on the machine is in it.
READS = ("tokens", "introspections", "look-ups", "keys", "discovery", "offline verification", "live")
WRITES = ("codes", "refreshes", "revocations", "authorizations", "cut-offs", "registrations", "sign-ins", "API keys")
# Of these, what every node keeps in memory: its commits take turns.
IN_TURN = ("revocations", "cut-offs", "registrations")
BEFORE, AFTER = 4.0, 10.0
# Between two sign-ins at a node, in seconds.
PAUSE = 3
# A node that is started meanwhile makes a few commits one after another.
STARTED = 60


class Record:
    """What was asked for while commits were slow, and what came of it."""

    def __init__(self):
        self.redeemed, self.unsure, self.raced = [], [], []
        self.revoked, self.unsure_revoked, self.seen = [], [], []
        self.bare, self.said = [], set()


class Requests:
    """What is asked of the nodes, and how the answers are taken."""

    def __init__(self, cluster, client, load):
        self.cluster, self.client, self.load, self.record = cluster, client, load, Record()
        self.nodes, self.families = cluster.nodes, []

    def add(self, kind, ask, workers=1, pause=0.0):
        async def act():
            answer = await ask()
            if answer.status == 503 and kind != "ready" and not answer.headers.get("retry-after"):
                self.record.bare.append((kind, answer))
            if answer.status in (302, 303):
                location = answer.headers.get("location", [""])[0]
                gone = "error=temporarily_unavailable" in location or "error=server_error" in location
                return 503 if gone else 200 if "code=" in location or "set-cookie" in answer.headers else location
            return 200 if answer.status == 201 else answer.status

        self.load.add(kind, act, workers, pause)

    async def prepare(self, seconds):
        cluster, client, nodes = self.cluster, self.client, self.nodes
        # Several: what is done in one session waits for that session's row.
        sessions = [await cluster.session(client) for _ in range(7)]
        codes = [iter(await cluster.codes(client, cookies, 3 * (seconds + 20))) for cookies in sessions]
        self.spare = codes.pop()
        token = (await nodes[0].token(client)).member("access_token")
        newest = (await nodes[0].redeem(client, next(self.spare))).member("refresh_token")
        api, keeper = await cluster.resource_server(), await cluster.key_keeper()
        for number, node in enumerate(nodes):
            self.add("tokens", lambda node=node: node.token(client), 2, 0.02)
            about, looked_up = {**client, "token": token}, {**client, "token": newest}
            self.add("introspections", lambda n=node, a=about: n.form("/oauth2/introspect", **a), 1, 0.05)
            self.add("look-ups", lambda n=node, a=looked_up: n.form("/oauth2/introspect", **a), 1, 0.05)
            self.add("keys", lambda node=node: node.get("/.well-known/jwks.json", 5), 1, 0.05)
            self.add("discovery", lambda node=node: node.get("/.well-known/openid-configuration", 5), 1, 0.05)
            self.add("live", lambda node=node: node.management.get("/health/live", 5), 1, 0.1)
            self.add("ready", lambda node=node: self.ready(node), 1, 0.1)
            for mine, cookies in list(zip(codes, sessions))[2 * number:2 * number + 2]:
                self.add("codes", lambda node=node, mine=mine: self.redeem(node, next(mine)), 1, 0.4)
            self.add("authorizations", lambda n=node, c=cookies: cluster.authorize(n, client, c), 1, 0.4)
            held = [(await node.redeem(client, next(self.spare))).member("refresh_token")]
            self.families.append((await node.redeem(client, next(self.spare))).member("refresh_token"))
            self.add("refreshes", lambda node=node, held=held: self.refresh(node, held), 1, 0.3)
            self.add("revocations", lambda number=number: self.revoke(number), 1, 1.0)
            people = await self.people(node, seconds)
            self.add("sign-ins", lambda node=node, people=people: self.sign_in(node, people), 1, PAUSE)
            key = {"X-API-Key": (await cluster.api_keys(keeper, 1))[0]}
            self.add("API keys", lambda n=node, k=key: n.send("GET", "/v1/users", None, k), 1, 1.0)
        await self.burst(nodes[0])
        self.add("offline verification", lambda: api.get("/products", 5, Authorization=f"Bearer {token}"), 1, 0.03)
        self.load.add("races", self.race, 1, 0.5)

    async def burst(self, node):
        """What is done one after another there: its follower must not stand in the same lines."""
        headers = {"Authorization": f"Bearer {await self.cluster.admin_token(node)}", "Content-Type": JSON}
        victim = {"client_id": (await self.cluster.client(node))["client_id"]}
        self.add("cut-offs", lambda: node.send("POST", "/admin/revocations", victim, headers), 2, 0.5)
        new = {"client_name": "New", "scope": "read", "resources": [RESOURCE], "grant_types": ["client_credentials"]}
        self.add("registrations", lambda: node.send("POST", "/admin/clients", new, headers), 1, 0.5)

    async def people(self, node, seconds):
        """Who signs in at the node, one after the other. A try that nobody heard of counts as one that failed: each has fewer than make
        anybody wait."""
        names = [f"{node.name}{number}-{time.monotonic_ns()}@example.com" for number in range((seconds + 20) // (3 * PAUSE) + 1)]
        for name in names:
            person = {"name": "Somebody", "email": name, "password": PASSWORD}
            registered = await node.administer("POST", "/admin/users", person)
            check(registered.status == 201, "an account:", registered)
        return itertools.cycle(names), await self.cluster.sign_in_page(node, self.client)

    async def sign_in(self, node, people):
        names, (jar, action, fields) = people
        return await node.send("POST", action, {**fields, "username": next(names)}, {"Cookie": joined(jar)})

    async def ready(self, node):
        answer = await node.management.get("/health/ready", 5)
        self.record.said.add((answer.member("store"), answer.member("mirror")))
        return answer

    async def redeem(self, node, code):
        answer = await node.redeem(self.client, code)
        if answer.status == 200:
            self.record.redeemed.append((code, answer.member("access_token")))
        else:
            self.record.unsure.append(code)
        return answer

    async def race(self):
        """One code, twice at each of two nodes at once."""
        code, nodes = next(self.spare), self.nodes[:2] * 2
        answers = await asyncio.gather(*(node.redeem(self.client, code) for node in nodes))
        won = sum(answer.status == 200 for answer in answers)
        check(won <= 1, f"a code had {won} winners:", answers)
        others = {(answer.status, answer.member("error")) for answer in answers} - {(200, None)}
        check(others <= {(400, "invalid_grant"), (503, "temporarily_unavailable")}, "a race for a code:", others)
        self.record.raced.append((code, won))
        return won

    async def refresh(self, node, held):
        """Whoever hears nothing asks again for the same, for as long as it takes."""
        answer = await node.refresh(self.client, held[0])
        if answer.status == 200:
            held[0] = answer.member("refresh_token")
        return answer

    async def revoke(self, number):
        issuer, node = self.nodes[(number + 1) % 3], self.nodes[number]
        token = (await issuer.token(self.client)).member("access_token")
        answer = await node.form("/oauth2/revoke", **self.client, token=token)
        if answer.status != 200:
            self.record.unsure_revoked.append(token)
            return answer

        async def refused(at):
            return not await at.active(self.client, token)

        self.record.revoked.append(token)
        self.record.seen += await on_all(self.nodes, refused, "a revocation")
        return answer


async def commits(cluster, client, seconds):
    revoked = []
    for takes in TAKES:
        revoked += await phase(cluster, client, takes, seconds)
    await a_node_is_started(cluster, client, revoked)


async def phase(cluster, client, takes, seconds):
    nodes, load, slowed = cluster.nodes, Load(), Slowed(cluster, takes)
    requests = Requests(cluster, client, load)
    await requests.prepare(seconds)
    await asyncio.sleep(2)
    normal = time.monotonic()
    await asyncio.sleep(BEFORE)
    watch, asked = Watch(nodes), time.monotonic()
    begun = await asyncio.to_thread(slowed.begin)
    try:
        await asyncio.sleep(seconds / 3)
        rotating = asyncio.create_task(rotate(cluster, client))
        await asyncio.sleep(max(0.0, begun + seconds - GRACE / 2 - time.monotonic()))
        lost = await asyncio.gather(*(node.refresh(client, token) for node, token in zip(nodes, requests.families)))
        await asyncio.sleep(max(0.0, begun + seconds - time.monotonic()))
    finally:
        over = time.monotonic()
        await asyncio.to_thread(slowed.end)
    children = await the_same_child(requests, lost)
    rotated = await rotating
    await asyncio.sleep(AFTER)
    memory, files = watch.finish()
    await load.stop()
    print(f"each commit takes {takes} s, for {seconds} s, P {cluster.settings.get('keys.propagation', '30s')}:")
    tell_reads(load, (normal, asked, over))
    tell_writes(load, (begun, over), takes)
    record = requests.record
    print(f"    acknowledged revocations {len(record.seen) // 3}: honoured by every node after {spread(record.seen)}; bar {1e3 * BAR:.0f} ms")
    check(not record.seen or max(record.seen) <= BAR, "that is too long")
    print(f"    a rotation by force: {rotated}")
    print(f"    refresh tokens whose refresh was answered {[answer.status for answer in lost]}, asked for again within the grace at two"
          f" nodes: {children} had one child")
    print(f"    ready {outcomes(load.between('ready', asked))}, said of store and mirror: {sorted(record.said)}")
    print(f"    memory {max(had for had, _ in watch.before):.0f} MiB before, at most {memory:.1f} MiB more of {watch.looked} looks;"
          f" at most {files} more files open; 503 without Retry-After: {len(record.bare)}")
    last = {kind: max([event.at - over for event in load.between(kind, over) if event.outcome != 200] or [0.0])
            for kind in (*READS, *WRITES, "ready")}
    print("    when it is over, the last failure after: " + ", ".join(f"{kind} {at:.2f} s" for kind, at in last.items() if at))
    check(not record.bare, "503 without Retry-After:", record.bare[:1])
    check(set(outcomes(load.between("ready", asked))) == {200}, "a node was not ready")
    check(watch.looked >= seconds / bar(0.5), "they were looked at", watch.looked, "times")
    check(memory <= MORE_MEMORY, "that is too much memory")
    check(files <= MORE_FILES, "those are too many files")
    check(max(last.values()) <= min(NORMAL, AFTER - 2), "it should be good then, and stay so")
    await settle(requests)
    return record.revoked


def tell_reads(load, times):
    normal, asked, over = times
    for kind in READS:
        before, during = load.between(kind, normal, asked), load.between(kind, asked, over)
        p99 = [1e3 * percentile([event.seconds for event in events], 0.99) for events in (before, during)]
        print(f"    {kind} {outcomes(during)}, answered in {spread(event.seconds for event in during)}; p99 before {p99[0]:.0f} ms,"
              f" x{p99[1] / p99[0]:.1f}")
        check(set(outcomes(load.between(kind, 0))) == {200}, kind, "need no commit")


def tell_writes(load, times, takes):
    begun, over = times
    for kind in WRITES:
        came = load.between(kind, begun, over)
        good, refused = ([event.seconds for event in came if event.outcome == status] for status in (200, 503))
        print(f"    {kind} {outcomes(came)}; 200 after {spread(good)}; 503 after {spread(refused)}, bar {1e3 * SENT_AWAY:.0f} ms")
        check(came and set(outcomes(load.between(kind, 0))) <= {200, 503}, kind, "are done, or 503:", outcomes(load.between(kind, 0)))
        # What takes turns with the other nodes may wait for longer than requests do.
        check(good or takes >= POSTGRES_TIMEOUT or kind in IN_TURN, kind, "are never done")
        check(max(refused, default=0) <= SENT_AWAY, "that took too long")


async def rotate(cluster, client):
    """After how long every node signs with another key; asked for again for as long as the answer is 503."""
    begun, node, told = time.monotonic(), cluster.nodes[0], []
    kid = await signing(node, client)
    while time.monotonic() < begun + 20 and await signing(node, client) == kid:
        told.append((await node.administer("POST", "/admin/keys/rotate", {"force": True})).status)
        await asyncio.sleep(1)

    async def signs_with_another(each):
        return await signing(each, client) != kid

    await on_all(cluster.nodes, signs_with_another, "a new key")
    return f"answered {told}, every node signs with another key after {time.monotonic() - begun:.1f} s"


async def signing(node, client):
    return part((await node.token(client)).member("access_token"), 0)["kid"]


async def the_same_child(requests, lost):
    """How many families of those that were refreshed give the same child to whoever asks again, at any node."""
    nodes, client = requests.nodes, requests.client
    for number, (token, first) in enumerate(zip(requests.families, lost)):
        check(first.status in (200, 503), "a refresh:", first)
        again = [await nodes[(number + step) % 3].refresh(client, token) for step in (1, 2)]
        check(all(answer.status == 200 for answer in again), "refused within the grace:", again)
        children = {answer.member("refresh_token") for answer in (first, *again) if answer.status == 200}
        check(len(children) == 1, len(children), "children")
    return len(lost)


async def settle(requests):
    """What was acknowledged is there, and what was not is one or the other everywhere, and no more than once."""
    record, client, nodes = requests.record, requests.client, requests.nodes
    for code, token in record.redeemed:
        check(await nodes[0].active(client, token), "what a code was redeemed for does not count")
        answer = await nodes[1].redeem(client, code)
        check((answer.status, answer.member("error")) == (400, "invalid_grant"), "a code was redeemed, and is not spent:", answer)
    spent = 0
    for code, won in [(code, 0) for code in record.unsure] + record.raced:
        for _ in range(2):
            answer = await nodes[1].redeem(client, code)
            check(answer.status == 200 or answer.member("error") == "invalid_grant", "a code:", answer)
            won += answer.status == 200
        check(won <= 1, "a code was redeemed twice")
        spent += won == 0
    done = 0
    for token in record.unsure_revoked:
        known = {await node.active(client, token) for node in nodes}
        check(len(known) == 1, "a revocation of which nobody knew is known to some nodes")
        done += known == {False}
    for token in record.revoked:
        check(not any([await node.active(client, token) for node in nodes]), "an acknowledged revocation is lost")
    print(f"    afterwards: {len(record.redeemed)} codes redeemed and spent; of {len(record.unsure)} answered otherwise and {len(record.raced)}"
          f" raced for four times each, none redeemed twice, {spent} by nobody who heard of it; of {len(record.unsure_revoked)}"
          f" revocations answered with 503 {done} done, on all nodes or on none; {len(record.revoked)} acknowledged ones known to all")


async def a_node_is_started(cluster, client, revoked):
    node, slowed = cluster.nodes[2], Slowed(cluster, TAKES[-1])
    node.kill()
    await asyncio.to_thread(slowed.begin)
    try:
        begun = time.monotonic()
        node.start()
        await node.ready(STARTED)
        took = time.monotonic() - begun
        token = await node.token(client)
        check(token.status == 200, "it issues nothing:", token)
    finally:
        await asyncio.to_thread(slowed.end)
    for token in revoked:
        check(not await node.active(client, token), "an acknowledged revocation is lost")
    print(f"a node started while each commit takes {TAKES[-1]} s is ready after {took:.1f} s, and knows {len(revoked)} acknowledged revocations")
