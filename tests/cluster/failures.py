"""A node is killed; the primary of the database is lost.

What is promised of the loss of one node of three at full load (row 16): nothing that was acknowledged is lost; of what clients ask in the 10 s after it, reads and
writes together, 1 % fails at most; and within 30 s as much is answered as before. Full load is what clients bring who ask again as soon as they are
answered, 24 of them for tokens, introspection and refreshes without a pause, so that it is the machine that says how much that is; six more register, revoke and
redeem.
"""

import asyncio
import collections
import itertools
import os
import pathlib
import time

from changes import listed, part
from client import Broken, Load, outcomes, spread
from cluster import FULL, check

# Of what clients ask, the share that may fail in so many seconds after the loss of a node; and how soon how much of the rate before is back, which is
# looked at over so many seconds.
FAILED, AFTER = 0.01, 10
BACK, STEADY, WINDOW = 0.9 if FULL else 0.5, 30, 3
# How much of all cores together may have nothing to do for the load to be a full one, in cores.
IDLE = 0.2

# An outcome that needs no answer's other members.
Done = collections.namedtuple("Done", "status")


class Balancer:
    """Hands requests on to one node after the other, and a request that broke or was answered with 5xx to the next one; a node
    that broke one is passed over for a second, as a load balancer does that looks no further than at what it hands on."""

    ASIDE = 1.0

    def __init__(self, nodes):
        self.nodes, self.turns, self.aside = nodes, itertools.count(), {}
        # When each try ended, and whether it was good, by kind of request: what there would be without handing on.
        self.tries = collections.defaultdict(list)

    def ask(self, kind, ask):
        async def act():
            turn, outcome = next(self.turns), "broken"
            in_turn = [self.nodes[(turn + attempt) % len(self.nodes)] for attempt in range(len(self.nodes))]
            in_turn.sort(key=lambda node: self.aside.get(node, 0) > time.monotonic())
            for node in in_turn:
                if node in self.aside:
                    # One at a time finds out whether it is there again.
                    self.aside[node] = time.monotonic() + self.ASIDE
                try:
                    outcome = (await ask(node)).status
                    self.aside.pop(node, None)
                except Broken:
                    outcome = "broken"
                    self.aside[node] = time.monotonic() + self.ASIDE
                good = outcome != "broken" and outcome < 500
                self.tries[kind].append((time.monotonic(), good))
                if good:
                    break
            return outcome

        return act

    def failed(self, kind, begin, end):
        """How many tries failed in that time, and of how many."""
        tries = [good for at, good in self.tries[kind] if begin <= at < end]
        return tries.count(False), len(tries)


class Writes:
    """What was acknowledged while something fails, which must be there afterwards."""

    def __init__(self, cluster, client, codes):
        self.cluster, self.client, self.waiting, self.turns = cluster, client, iter(codes), itertools.count()
        self.registered, self.revoked, self.redeemed = [], [], []

    def begin(self, load, workers, pause=0.05, balancer=None):
        """Each at one node after the other, or by way of a balancer."""
        for name, act in (("register", self.register), ("revoke", self.revoke), ("redeem", self.redeem)):
            load.add(name, balancer.ask(name, act) if balancer else self.at_one_node(act), workers, pause)

    def at_one_node(self, act):
        async def at_the_next():
            answer = await act(self.cluster.nodes[next(self.turns) % 3])
            return "written" if answer.status == 200 else answer.status

        return at_the_next

    async def register(self, node):
        self.registered.append(await self.cluster.client(node))
        return Done(200)

    async def revoke(self, node):
        issued = await node.token(self.client)
        if issued.status != 200:
            return issued
        mine = issued.member("access_token")
        answer = await node.form("/oauth2/revoke", **self.client, token=mine)
        if answer.status == 200:
            self.revoked.append(mine)
        return answer

    async def redeem(self, node):
        """With a code of its own each time: who heard nothing begins anew, as a client does."""
        code = next(self.waiting)
        answer = await node.redeem(self.client, code)
        if answer.status == 200:
            self.redeemed.append(code)
        return answer

    async def check(self, fresh):
        """Asks a node that was started since, and so knows nothing but what is stored, while the others remember what they were
        told; prints what was acknowledged, and fails if some of it is lost."""
        lost, forgotten = collections.Counter(), 0
        for mine in self.registered:
            known = await fresh.administer("GET", f"/admin/clients/{mine['client_id']}")
            lost["registrations"] += (await fresh.token(mine)).status != 200 or known.status != 200
        for token in self.revoked:
            lost["revocations"] += await fresh.active(self.client, token) or not await listed(fresh, token)
            for node in self.cluster.nodes:
                forgotten += node is not fresh and (await node.active(self.client, token) or not await listed(node, token))
        for code in self.redeemed:
            answer = await fresh.redeem(self.client, code)
            lost["codes"] += (answer.status, answer.member("error")) != (400, "invalid_grant")
        print(f"    acknowledged: {len(self.registered)} registrations, {len(self.revoked)} revocations,"
              f" {len(self.redeemed)} codes redeemed; a node that was started since lacks {lost.total()} of them,"
              f" the others forgot {forgotten} revocations")
        check(min(map(len, (self.registered, self.revoked, self.redeemed))) > 0, "there was nothing to lose")
        check(lost.total() == 0, "acknowledged writes were lost:", dict(lost))
        check(forgotten == 0, "a node forgot what it was told")


def idle_seconds():
    """For how long the machine's cores had nothing to do, all together (proc(5))."""
    return float(pathlib.Path("/proc/uptime").read_text().split()[1])


async def kill(cluster, client, cookies):
    nodes, load, balancer = cluster.nodes, Load(), Balancer(cluster.nodes)
    writes = Writes(cluster, client, await cluster.codes(client, cookies, 3000))
    token = (await nodes[0].token(client)).member("access_token")
    await asyncio.sleep(1)

    def add(kind, ask, workers):
        load.add(kind, balancer.ask(kind, ask), workers)

    more = {**client, "token": token}
    add("tokens", lambda node: node.token(client), 12)
    add("introspections", lambda node: node.form("/oauth2/introspect", **more), 6)
    for code in await cluster.codes(client, cookies, 6):
        held = [(await nodes[0].redeem(client, code)).member("refresh_token")]

        async def refresh(node, held=held):
            answer = await node.refresh(client, held[0])
            held[0] = answer.member("refresh_token") or held[0]
            return answer

        add("refreshes", refresh, 1)
    writes.begin(load, 2, balancer=balancer)

    async def loyal():
        return (await nodes[1].token(client, 1.0)).status

    load.add("loyal", loyal, 1, 0.02)
    await asyncio.sleep(3)
    measured, idle, ran = time.monotonic(), idle_seconds(), sum(node.ran() for node in nodes)
    await asyncio.sleep(WINDOW)
    idle, ran = idle_seconds() - idle, sum(node.ran() for node in nodes) - ran
    nodes[1].kill()
    killed = time.monotonic()
    idle, ran = idle / (killed - measured), ran / (killed - measured)
    await asyncio.sleep(AFTER)
    begun = time.monotonic()
    nodes[1].start()
    await nodes[1].ready()
    started = time.monotonic()
    await asyncio.sleep(3)

    def answered(begin, end):
        """Of all kinds, a second."""
        good = [event for kind in balancer.tries for event in load.between(kind, begin, end) if event.outcome == 200]
        return len(good) / (end - begin)

    before = answered(measured, killed)
    steady = None
    while steady is None and time.monotonic() < killed + STEADY:
        # The earliest window, not only the present one.
        windows = (killed + 0.25 * number for number in range(int(4 * (time.monotonic() - killed - WINDOW))))
        steady = next((begin for begin in windows if answered(begin, begin + WINDOW) >= BACK * before), None)
        await asyncio.sleep(0.25)
    await load.stop()
    print(f"a node killed at full load ({before:.0f} answers a second of all kinds; of {os.cpu_count()} cores {idle:.2f} idle, {ran:.2f} used by the nodes),"
          " its clients going on at the others:")
    # What the nodes leave is taken by the clients, the database and its standby.
    check(not FULL or idle <= IDLE, f"that is no full load: at most {IDLE} of the cores may be idle")
    check(steady is not None, f"not {100 * BACK:.0f} % of that again within {STEADY} s")
    ten = [event for kind in balancer.tries for event in load.between(kind, killed, killed + AFTER)]
    bad = [event for event in ten if event.outcome != 200]
    tries = [balancer.failed(kind, killed, killed + AFTER) for kind in balancer.tries]
    failed, tried = (sum(each) for each in zip(*tries))
    print(f"    of all kinds: {len(bad)} of {len(ten)} failed in the {AFTER} s after, {100 * len(bad) / len(ten):.2f} %"
          f" ({outcomes(bad)}); of {tried} tries, before any at another node, {failed}, {100 * failed / tried:.2f} %; bar {100 * FAILED:.0f} %;"
          f" {100 * BACK:.0f} % of the rate before over {WINDOW} s from {steady - killed:.1f} s after the kill on; bar {STEADY} s")
    check(len(bad) <= FAILED * len(ten) and failed <= FAILED * tried, "too much failed")
    for kind in tuple(balancer.tries):
        before, writes_it = load.between(kind, measured, killed), kind in ("register", "revoke", "redeem")
        ten, after = load.between(kind, killed, killed + 10), load.between(kind, started)
        errors = [event for event in ten if event.outcome != 200]
        failed, tries = balancer.failed(kind, killed, killed + 10)
        first, second = balancer.failed(kind, killed, killed + 1)[0], balancer.failed(kind, killed + 1, killed + 10)[0]
        print(f"    {kind}: {len(before) / (killed - measured):.0f} a second before, {len(ten) / 10:.0f} in the 10 s after;"
              f" failed tries, before any at another node, {failed} of {tries} ({100 * failed / tries:.2f} %),"
              f" {first} of them in the first second and {second} in the nine after;"
              f" errors in the end {len(errors)} of {len(ten)}, then {sum(e.outcome != 200 for e in after)} of {len(after)}")
        before = load.between(kind, 0, killed)
        check(all(event.outcome == 200 for event in before + after), kind, "failed:", outcomes(before), outcomes(after))
        # Of the few that write, the one that was under way at the node may be more than that.
        check(writes_it or failed < tries / 100, "1 % or more of the tries failed")
        check(not errors, "errors in the end:", outcomes(ten))
    away = load.between("loyal", killed, started)
    back = min(event.at for event in load.between("loyal", begun) if event.outcome == 200)
    print(f"    who knows no other node: {sum(e.outcome != 200 for e in away)} of {len(away)} failed until it was started again;"
          f" it issued {back - begun:.2f} s after that start, and was ready after {started - begun:.2f} s")
    await writes.check(nodes[1])


async def failover(cluster, client, cookies):
    nodes, load = cluster.nodes, Load()
    writes = Writes(cluster, client, await cluster.codes(client, cookies, 3000))
    api, token = await cluster.resource_server(), (await nodes[0].token(client)).member("access_token")
    check(token, "no token")

    def asked(node, path):
        async def act():
            return (await node.get(path, 5)).status

        return act

    def issue(node):
        async def act():
            return (await node.token(client)).status

        return act

    async def verify():
        return (await api.get("/products", 5, Authorization=f"Bearer {token}")).status

    writes.begin(load, 4)
    path = "/status/" + part(token, 1)["status"]["status_list"]["uri"].rsplit("/", 1)[1]
    for node in nodes:
        load.add("keys", asked(node, "/.well-known/jwks.json"), 1, 0.03)
        load.add("status lists", asked(node, path), 1, 0.03)
        load.add("tokens", issue(node), 1, 0.03)
    load.add("offline verification", verify, 1, 0.03)
    await asyncio.sleep(3)
    killed = time.monotonic()
    cluster.primary.do("kill")
    await asyncio.sleep(0.5)
    await asyncio.to_thread(cluster.standby.do, "promote")
    await asyncio.sleep(6)
    await load.stop()

    print("the primary killed under load, the standby told 0.5 s later that it is promoted:")
    for kind in ("register", "revoke", "redeem"):
        first = [event.at for event in load.between(kind, killed + 0.3) if event.outcome == "written"]
        check(first, kind, "never worked again")
        print(f"    {kind}: {outcomes(load.between(kind, 0))}; the next good answer {min(first) - killed:.2f} s after the kill")
    for kind in ("keys", "status lists", "offline verification", "tokens"):
        came = load.between(kind, killed)
        print(f"    {kind}: {outcomes(came)}, answered in {spread(event.seconds for event in came)}")
        check(set(outcomes(came)) == {200}, kind, "were interrupted")
    nodes[2].kill()
    nodes[2].start()
    await nodes[2].ready()
    await writes.check(nodes[2])
