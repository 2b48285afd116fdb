"""A node is killed; the database is frozen; its primary is lost."""

import asyncio
import itertools
import time

from changes import listed, part
from client import Broken, Load, outcomes, percentile, spread
from cluster import check

PROPAGATION = 5


def balanced(nodes, ask):
    """`ask(node)` at one node after the other until one answers it well, as a load balancer does."""
    turns = itertools.count()

    async def act():
        turn, outcome = next(turns), "broken"
        for attempt in range(len(nodes)):
            try:
                answer = await ask(nodes[(turn + attempt) % len(nodes)])
            except Broken:
                outcome = "broken"
                continue
            outcome = answer.status
            if outcome < 500:
                return outcome
        return outcome

    return act


async def kill(cluster, client, cookies):
    nodes, load = cluster.nodes, Load()
    token = (await nodes[0].token(client)).member("access_token")
    await asyncio.sleep(1)
    load.add("tokens", balanced(nodes, lambda node: node.token(client)), 12)
    more = {**client, "token": token}
    load.add("introspections", balanced(nodes, lambda node: node.form("/oauth2/introspect", **more)), 6)
    for code in await cluster.codes(client, cookies, 6):
        held = [(await nodes[0].redeem(client, code)).member("refresh_token")]

        async def refresh(node, held=held):
            answer = await node.refresh(client, held[0])
            held[0] = answer.member("refresh_token") or held[0]
            return answer

        load.add("refreshes", balanced(nodes, refresh))
    await asyncio.sleep(3)
    nodes[1].kill()
    killed = time.monotonic()
    await asyncio.sleep(10)
    nodes[1].start()
    await nodes[1].ready()
    started = time.monotonic()
    await asyncio.sleep(3)
    await load.stop()
    print("a node killed under load, its clients going on at the others:")
    for kind in ("tokens", "introspections", "refreshes"):
        before = load.between(kind, 0, killed)
        ten, after = load.between(kind, killed, killed + 10), load.between(kind, started)
        errors = [event for event in ten if event.outcome != 200]
        print(f"    {kind}: {len(before) / 3:.0f} a second before, {len(ten) / 10:.0f} in the 10 s after;"
              f" errors {len(errors)} of {len(ten)}, then {sum(e.outcome != 200 for e in after)} of {len(after)}")
        check(all(event.outcome == 200 for event in before + after), kind, "failed:", outcomes(before), outcomes(after))
        check(len(errors) < len(ten) / 100, "that is 1 % or more:", outcomes(ten))


async def freeze(cluster, client, cookies, seconds):
    nodes, load = cluster.nodes, Load()
    codes, bare = iter(await cluster.codes(client, cookies, 40 * (seconds + 12))), []

    def redeem(node):
        async def act():
            answer = await node.redeem(client, next(codes))
            if answer.status == 503 and not answer.headers.get("retry-after"):
                bare.append(answer)
            return answer.status

        return act

    def asked(target, path):
        async def act():
            return (await target.get(path, 5)).status

        return act

    def issue(node):
        async def act():
            return (await node.token(client)).status

        return act

    for node in nodes:
        load.add("codes", redeem(node), 4, 0.4)
        load.add("tokens", issue(node), 2, 0.02)
        load.add("keys", asked(node, "/.well-known/jwks.json"), 1, 0.05)
        load.add("live", asked(node.management, "/health/live"), 1, 0.1)
        load.add("ready", asked(node.management, "/health/ready"), 1, 0.1)
    await asyncio.sleep(2)
    before = max(node.resident() for node in nodes)
    grown = [node.resident() for node in nodes]
    cluster.primary.do("freeze")
    cluster.standby.do("freeze")
    frozen = time.monotonic()
    try:
        await asyncio.sleep(seconds)
        grown = [node.resident() - old for node, old in zip(nodes, grown)]
    finally:
        thawed = time.monotonic()
        cluster.primary.do("thaw")
        cluster.standby.do("thaw")
    await asyncio.sleep(8)
    await load.stop()

    def during(kind, begin=frozen, end=thawed):
        return load.between(kind, begin, end)

    # What was answered at the moment of freezing may have been good.
    needed = [event for event in during("codes") if event.outcome != 200 or event.at > frozen + 0.2]
    issued = [event.at - frozen for event in during("tokens") if event.outcome == 200]
    refused = [event.at - frozen for event in during("tokens") if event.outcome == 503]
    good_again = {kind: max([event.at - thawed for event in load.between(kind, thawed) if event.outcome != 200] or [0.0])
                  for kind in ("codes", "tokens", "ready")}
    print(f"the database frozen for {seconds} s, P {PROPAGATION} s:")
    print(f"    codes {outcomes(needed)}, answered in {spread(event.seconds for event in needed)}, bar 2000 ms")
    print(f"    tokens issued until {max(issued):.2f} s, refused from {min(refused):.2f} s on: {outcomes(during('tokens'))}")
    print(f"    keys {outcomes(during('keys'))}, live {outcomes(during('live'))}, ready {outcomes(during('ready'))}")
    print(f"    memory {before:.0f} MiB before, at most {max(grown):.1f} MiB more")
    print("    after it the last failure: " + ", ".join(f"{kind} {at:.2f} s" for kind, at in good_again.items()))
    check(set(outcomes(needed)) == {503} and not bare, "it should be 503 with Retry-After", bare[:1])
    check(max(event.seconds for event in needed) <= 2, "that took too long")
    check(set(outcomes(during("tokens"))) == {200, 503}, "tokens")
    check(max(issued) <= PROPAGATION + 0.2 and min(refused) >= PROPAGATION - 2, "tokens stop at P")
    check(set(outcomes(load.between("keys", 0))) == {200}, "the keys must be served throughout")
    check(set(outcomes(load.between("live", 0))) == {200}, "the nodes live")
    check(set(outcomes(during("ready", frozen + PROPAGATION + 1))) == {503}, "the nodes are not ready")
    check(max(grown) <= 50, "that is too much memory")
    check(max(good_again.values()) <= 5, "it should be good 5 s after")


async def failover(cluster, client, cookies):
    nodes, load, turns = cluster.nodes, Load(), itertools.count()
    codes = iter(await cluster.codes(client, cookies, 3000))
    api, token = await cluster.resource_server(), (await nodes[0].token(client)).member("access_token")
    check(token, "no token")
    registered, revoked, redeemed = [], [], []

    async def register():
        registered.append(await cluster.client(nodes[next(turns) % 3]))
        return "written"

    async def revoke():
        node = nodes[next(turns) % 3]
        mine = (await node.token(client)).member("access_token")
        answer = await node.form("/oauth2/revoke", **client, token=mine) if mine else None
        if answer and answer.status == 200:
            revoked.append(mine)
        return "written" if answer and answer.status == 200 else "refused"

    async def redeem():
        code = next(codes)
        answer = await nodes[next(turns) % 3].redeem(client, code)
        if answer.status == 200:
            redeemed.append(code)
        return "written" if answer.status == 200 else answer.status

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

    for name, act in (("register", register), ("revoke", revoke), ("redeem", redeem)):
        load.add(name, act, 4, 0.05)
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
        print(f"    {kind}: {outcomes(came)}, p99 {percentile([event.seconds for event in came], 0.99)}")
        check(set(outcomes(came)) == {200}, kind, "were interrupted")
    lost = await losses(cluster, client, registered, revoked, redeemed)
    print(f"    acknowledged: {len(registered)} registrations, {len(revoked)} revocations, {len(redeemed)} codes redeemed; lost {lost}")
    check(lost == 0, "acknowledged writes were lost")


async def losses(cluster, client, registered, revoked, redeemed):
    lost = 0
    for index, mine in enumerate(registered):
        lost += (await cluster.nodes[index % 3].token(mine)).status != 200
        lost += (await cluster.nodes[index % 3].administer("GET", f"/admin/clients/{mine['client_id']}")).status != 200
    for token in revoked:
        for node in cluster.nodes:
            lost += await node.active(client, token) or not await listed(node, token)
    for index, code in enumerate(redeemed):
        answer = await cluster.nodes[index % 3].redeem(client, code)
        lost += (answer.status, answer.member("error")) != (400, "invalid_grant")
    return lost
