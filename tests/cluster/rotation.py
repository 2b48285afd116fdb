"""Keys that change every few seconds, and a node that is cut off from the database: no token is refused."""

import asyncio
import collections
import re
import socket
import time

from changes import part
from client import Load, outcomes
from cluster import PRIMARY, WIRE, bar, check

PROPAGATION = 2.0
PERIOD = 19

Alive = collections.namedtuple("Alive", "text kid exp")


class LazyVerifier:
    """Keeps the keys for as long as it was told that it may, and asks for no key that it doesn't know before."""

    def __init__(self, node):
        self.node, self.kids, self.until, self.fetches = node, set(), 0.0, 0

    async def check(self, tokens):
        """How many it checked."""
        if time.monotonic() >= self.until:
            answer = await self.node.get("/.well-known/jwks.json")
            check(answer.status == 200, "JWKS:", answer)
            self.kids = {key["kid"] for key in answer.member("keys")}
            self.until = time.monotonic() + int(re.search(r"max-age=(\d+)", answer.headers["cache-control"][0])[1])
            self.fetches += 1
        good = [token for token in tokens if token.exp > time.time()]
        for token in good:
            check(token.kid in self.kids, "a verifier at", self.node.name, "refuses a valid token:", token)
        return len(good)


class Verifiers:
    """One at each node, and the example's resource server, which verifies signatures."""

    def __init__(self, nodes, api):
        self.lazy, self.api = [LazyVerifier(node) for node in nodes], api
        self.alive, self.checked, self.verified, self.kids, self.running = [], 0, 0, collections.Counter(), True
        self.task = asyncio.create_task(self._work())

    async def add(self, answer):
        text = answer.member("access_token")
        token = Alive(text, part(text, 0)["kid"], part(text, 1)["exp"])
        self.kids[token.kid] += 1
        self.alive.append(token)

    async def _work(self):
        while self.running or self.alive:
            self.alive = [token for token in self.alive if token.exp > time.time()]
            for verifier in self.lazy:
                self.checked += await verifier.check(list(self.alive))
            # The newest and the oldest.
            for token in self.alive[-1:] + self.alive[:1]:
                answer = await self.api.get("/products", Authorization=f"Bearer {token.text}")
                check(answer.status == 200 or token.exp <= time.time(), "the resource server refused:", token, answer)
                self.verified += 1
            await asyncio.sleep(0.1)

    async def finish(self):
        """Returns when the last token has ended."""
        self.running = False
        await self.task
        return (
            f"{self.kids.total()} tokens of {len(self.kids)} keys checked {self.checked} times by what {len(self.lazy)} lazy verifiers"
            f" had kept ({sum(verifier.fetches for verifier in self.lazy)} fetches) and {self.verified} times by their"
            " signature: 0 refused"
        )


async def clients(cluster):
    both = [await cluster.client(cluster.nodes[0], access_token_signing_alg=name) for name in ("ES256", "EdDSA")]
    for client in both:
        await cluster.everywhere(client)
    return both


async def under_load(cluster, seconds):
    both = await clients(cluster)
    verifiers, load = Verifiers(cluster.nodes, await cluster.resource_server()), Load()

    def issue(node, client):
        async def act():
            answer = await node.token(client)
            if answer.status == 200:
                await verifiers.add(answer)
            return answer.status

        return act

    for node in cluster.nodes:
        for client in both:
            load.add("token", issue(node, client), 1, 0.02)
    await asyncio.sleep(seconds)
    await load.stop()
    came = outcomes(load.events)
    print(f"rotation every {PERIOD} s under load for {seconds} s: {came}")
    print(f"    {await verifiers.finish()}")
    check(set(came) == {200}, "some requests for tokens failed")
    check(len(verifiers.kids) >= 2 * (seconds // PERIOD), "there were too few rotations")


class Wire:
    """What carries nodes' traffic to the database. Cut, it swallows everything, as a network does: what is sent, and what asks
    for a connection, for its queue is full and the kernel drops what would be one more."""

    def __init__(self):
        self.cut, self.held, self.full, self.carried = False, [], [], set()

    async def start(self):
        self.listener = socket.create_server(("127.0.0.1", WIRE))
        self.listener.setblocking(False)
        self.accepting = asyncio.create_task(self._accept())

    async def _accept(self):
        while True:
            accepted, _ = await asyncio.get_running_loop().sock_accept(self.listener)
            task = asyncio.create_task(self._carry(accepted))
            self.carried.add(task)
            task.add_done_callback(self.carried.discard)

    async def _carry(self, accepted):
        reader, writer = await asyncio.open_connection(sock=accepted)
        ends = [writer]
        self.held.append(ends)
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", PRIMARY)
        ends.append(other_writer)
        await asyncio.gather(self._pump(reader, other_writer), self._pump(other_reader, writer))

    async def _pump(self, reader, writer):
        try:
            while data := await reader.read(65536):
                if not self.cut:
                    writer.write(data)
            if not self.cut:
                writer.close()
        except OSError:
            writer.close()

    async def close(self):
        """After the nodes, so that nobody connects again."""
        self.mend()
        self.accepting.cancel()
        self.listener.close()
        await asyncio.sleep(0.1)

    def sever(self):
        self.cut = True
        self.accepting.cancel()
        self.listener.listen(0)
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", WIRE))
            self.full.append(filler)

    def mend(self):
        """What was under way when it was cut is lost."""
        if self.cut:
            self.listener.listen(128)
            self.accepting = asyncio.create_task(self._accept())
        self.cut = False
        for filler in self.full:
            filler.close()
        self.full.clear()
        for ends in self.held:
            for writer in ends:
                writer.transport.abort()
        self.held.clear()


async def partition(cluster, wire, seconds):
    both, alone = await clients(cluster), cluster.nodes[2]
    verifiers, load, cut_off = Verifiers(cluster.nodes[:2], await cluster.resource_server()), Load(), []

    def issue(client):
        async def act():
            answer = await alone.token(client)
            if answer.status == 200:
                await verifiers.add(answer)
                if wire.cut:
                    cut_off.append(answer.member("access_token"))
            return answer.status

        return act

    async def keys():
        return (await alone.get("/.well-known/jwks.json", 2)).status

    async def ready():
        return (await alone.management.get("/health/ready", 5)).status

    for client in both:
        load.add("token", issue(client), 1, 0.02)
    load.add("keys", keys, 1, 0.1)
    load.add("ready", ready, 1, 0.05)
    await asyncio.sleep(2)
    wire.sever()
    cut = time.monotonic()
    await asyncio.sleep(seconds)
    active = [await cluster.nodes[0].active(both[0], token) for token in cut_off if part(token, 1)["exp"] > time.time() + 1]
    check(all(active), "a token of the node that was cut off is not active elsewhere")
    wire.mend()
    mended = time.monotonic()
    # Until it issues again and says so, and a while longer.
    while not all(any(event.outcome == 200 for event in load.between(kind, mended)) for kind in ("token", "ready")):
        check(time.monotonic() < mended + bar(5), "it took too long to come back")
        await asyncio.sleep(0.1)
    await asyncio.sleep(2)
    await load.stop()
    during = load.between("token", cut, mended)
    last = max(event.at for event in during if event.outcome == 200) - cut
    back = min(event.at for event in load.between("token", mended) if event.outcome == 200) - mended
    unready = min(event.at for event in load.between("ready", cut) if event.outcome == 503) - cut
    again = min(event.at for event in load.between("ready", mended) if event.outcome == 200) - mended
    print(f"a node cut off from the database for {seconds} s, P {PROPAGATION:.0f} s: {outcomes(during)};")
    print(f"    its last token after {last:.2f} s, not ready after {unready:.2f} s, keys {outcomes(load.between('keys', cut))};")
    print(f"    after the wire was mended it issued again after {back:.2f} s and was ready after {again:.2f} s")
    print(f"    {await verifiers.finish()}, {len(cut_off)} of them issued while cut off")
    check(last <= PROPAGATION + bar(0.1) and set(outcomes(during)) == {200, 503}, "it did not stop in time")
    check(set(outcomes(load.between("keys", cut))) == {200}, "its keys were not served")
