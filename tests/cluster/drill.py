"""A key is declared compromised at one node while all of them sign with it.

From the acknowledgement on (row 13) the node that gave it signs nothing by the key. The others hear of it, within 1 s: until then they may sign a token by it, which
verifies as long as the key is in what resource servers have cached, and is inactive at every node from the first moment on; then the key has left every JWKS.
"""

import asyncio
import time

from changes import BAR, on_all, part
from client import JSON, Load, outcomes
from cluster import bar, check

# The whole of it, with what an operator would look at.
DRILL = bar(60.0)


async def compromise(cluster):
    nodes, load, signed, published = cluster.nodes, Load(), [], {node: [] for node in cluster.nodes}
    client = await cluster.client(nodes[0], access_token_signing_alg="ES256")
    await cluster.everywhere(client)
    token = (await nodes[0].token(client)).member("access_token")
    kid = part(token, 0)["kid"]
    check(kid in await keys(nodes[0]), "the key is not published")

    def issue(node):
        async def act():
            begun = time.monotonic()
            answer = await node.token(client)
            if answer.status == 200:
                text = answer.member("access_token")
                signed.append((node, begun, time.monotonic(), part(text, 0)["kid"], text))
            return answer.status

        return act

    def look(node):
        async def act():
            published[node].append((kid in await keys(node), time.monotonic()))
            return 200

        return act

    for node in nodes:
        load.add("tokens", issue(node), 4, 0.002)
        load.add("keys", look(node), 1, 0.005)
    await asyncio.sleep(2)
    headers = {"Authorization": f"Bearer {await cluster.admin_token(nodes[0])}", "Content-Type": JSON}
    asked = time.monotonic()
    answer = await nodes[0].send("POST", f"/admin/keys/{kid}/compromise", {"reason": "a drill"}, headers)
    acknowledged = time.monotonic()
    check(answer.status == 200, "compromise:", answer)

    async def inactive(node):
        return not await node.active(client, token)

    refused = await on_all(nodes, inactive, "the end of the key's tokens")
    await asyncio.sleep(2)
    await load.stop()
    print(f"a key declared compromised at one node under load, acknowledged after {1e3 * (acknowledged - asked):.0f} ms;"
          f" from there on, bar {1e3 * BAR:.0f} ms:")
    old = sum(1 for *_, by, _ in signed if by == kid)
    for node, seconds in zip(nodes, refused):
        mine = [(begun - acknowledged, at - acknowledged, by) for at_node, begun, at, by, _ in signed if at_node is node]
        last = max((at for _, at, by in mine if by == kid), default=None)
        check(last is not None and any(by != kid for *_, by in mine), "a node signed nothing before or after")
        # What was asked for before may have been signed before, and arrive after.
        asked_after = [begun for begun, _, by in mine if by == kid and begun > 0]
        shown = max(at for there, at in published[node] if there) - acknowledged
        check(not published[node][-1][0], "the key is still published")
        print(f"    node {node.name}: its last signature arrived after {1e3 * last:.0f} ms, in the JWKS until {1e3 * shown:.0f} ms,"
              f" tokens inactive after {1e3 * seconds:.0f} ms; {len(asked_after)} signed by it that were asked for after the acknowledgement")
        check(node is not nodes[0] or not asked_after, "the node that acknowledged it goes on signing with it")
        # What is below zero was over when the order was acknowledged.
        check(max(last, shown, seconds) <= BAR, "that is too long")
    late = [text for _, _, at, by, text in signed if by == kid and at > acknowledged]
    check(not any([await node.active(client, text) for text in late for node in nodes]), "a late token is active")
    took = time.monotonic() - asked
    print(f"    tokens {outcomes(load.between('tokens', 0))}, {old} of them by that key, {len(late)} after the acknowledgement,"
          f" which are inactive too; {took:.1f} s in all, bar {DRILL:.0f} s")
    check(took <= DRILL, "that is too long")
    check(set(outcomes(load.between("tokens", 0))) <= {200, 503}, "tokens")


async def keys(node):
    """The names of the keys that the node publishes."""
    answer = await node.get("/.well-known/jwks.json")
    check(answer.status == 200, "JWKS:", answer)
    return {key["kid"] for key in answer.member("keys")}
