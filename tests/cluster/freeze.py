"""The database is silent for a while, and goes on: a call that needs it says so soon, the rest goes on."""

import asyncio
import itertools
import time

from client import JSON, Load, outcomes, spread
from cluster import bar, check, joined

# What a call may take that has to wait for the database.
SOON = bar(2.0)
# After the database goes on, everything does.
NORMAL = bar(5.0)
# Each needs the database; the others need it only to hear of what other nodes have done.
WRITES = ("codes", "refreshes", "revocations", "crowd", "authorizations", "cut-offs", "sign-ins", "API keys", "new API keys")
# So many requests with an API key: fewer than it may make in a minute.
OF_A_KEY = 80
READS = ("tokens", "introspections")
# Revocations that each node is asked for in a second, whether or not it has answered those before.
CROWD = 10
# In MiB.
MORE_MEMORY = 50
MORE_FILES = 100
# What was acknowledged just before is on its way to the client for so long at most.
ON_ITS_WAY = 0.2


class Watch:
    """What the nodes hold, looked at ten times a second."""

    def __init__(self, nodes):
        self.nodes = nodes
        self.before = self._look()
        self.most, self.looked = list(self.before), 0
        self.task = asyncio.create_task(self._watch())

    def _look(self):
        return [(node.resident(), node.files()) for node in self.nodes]

    async def _watch(self):
        while True:
            self.most = [tuple(map(max, zip(*pair))) for pair in zip(self.most, self._look())]
            self.looked += 1
            await asyncio.sleep(0.1)

    def finish(self):
        """The most that a node had more than before, of memory and of files."""
        if self.task.done():
            # It ends by itself only when it breaks.
            self.task.result()
        self.task.cancel()
        return [max(most[of] - before[of] for most, before in zip(self.most, self.before)) for of in (0, 1)]


async def silence(cluster, client, cookies, outage, propagation, seconds):
    kinds = (*WRITES, *READS, "ready")
    nodes, load = cluster.nodes, Load()
    codes, bare = iter(await cluster.codes(client, cookies, 40 * (seconds + 7 + round(NORMAL)))), []
    token = (await nodes[0].token(client)).member("access_token")

    def add(kind, ask, workers, pause):
        async def act():
            answer = await ask()
            if answer.status == 503 and kind != "ready" and not answer.headers.get("retry-after"):
                bare.append((kind, answer))
            if answer.status == 201:
                return 200
            # Where somebody is sent on with a code or an error, which one says what came of it.
            location = answer.headers.get("location", [""])[0]
            if answer.status in (302, 303):
                unavailable = "error=temporarily_unavailable" in location or "error=server_error" in location
                return 503 if unavailable else 200 if "code=" in location else location
            return answer.status

        if kind == "crowd":
            load.arrive(kind, act, CROWD)
        else:
            load.add(kind, act, workers, pause)

    async def revoke(node):
        mine = (await node.token(client)).member("access_token") or token
        return await node.form("/oauth2/revoke", **client, token=mine)

    async def refresh(node, held):
        answer = await node.refresh(client, held[0])
        held[0] = answer.member("refresh_token") or held[0]
        return answer

    victim = await cluster.client(nodes[0])
    await cluster.everywhere(victim)
    keeper = await cluster.key_keeper()
    keys = iter(await cluster.api_keys(keeper, 3 * (6 * (seconds + 10 + round(NORMAL)) // OF_A_KEY + 1)))
    again = (await nodes[0].token(client)).member("access_token")
    for node in nodes:
        # So many, and so closely, that some are under way at the moment when it falls silent: they are done, and nobody is told so.
        for _ in range(4):
            held = [(await node.redeem(client, next(codes))).member("refresh_token")]
            add("refreshes", lambda node=node, held=held: refresh(node, held), 1, 0.05)

        # Several at once that wait in one line: what one client or one API key does, and what needs a thread for the password.
        headers = {"Authorization": f"Bearer {await cluster.admin_token(node)}", "Content-Type": JSON}
        whole = {"client_id": victim["client_id"]}
        jar, action, fields = await cluster.sign_in_page(node, client)
        turns, key = itertools.count(), [None]

        async def sign_in(node=node, action=action, fields=fields, cookie=joined(jar)):
            answer = await node.send("POST", action, fields, {"Cookie": cookie})
            # Who is in gets a session and is sent on.
            is_in = answer.status == 303 and "set-cookie" in answer.headers
            return answer._replace(status=200, headers={}) if is_in else answer

        async def by_key(node=node, turns=turns, key=key):
            if next(turns) % OF_A_KEY == 0:
                key[0] = next(keys)
            return await node.send("GET", "/v1/users", None, {"X-API-Key": key[0]})

        about = {**client, "token": token}
        add("codes", lambda node=node: node.redeem(client, next(codes)), 4, 0.4)
        add("revocations", lambda node=node: revoke(node), 1, 0.2)
        add("crowd", lambda node=node: node.form("/oauth2/revoke", **client, token=again), None, None)
        add("authorizations", lambda node=node: cluster.authorize(node, client, cookies), 1, 0.2)
        add("cut-offs", lambda n=node, h=headers, w=whole: n.send("POST", "/admin/revocations", w, h), 4, 0.2)
        add("sign-ins", sign_in, 2, 1.0)
        add("API keys", by_key, 6, 1.0)
        add("new API keys", lambda n=node, h=headers: n.send("POST", "/admin/api-keys", keeper, h), 1, 1.0)
        add("introspections", lambda node=node, about=about: node.form("/oauth2/introspect", **about), 1, 0.05)
        add("tokens", lambda node=node: node.token(client), 2, 0.02)
        add("keys", lambda node=node: node.get("/.well-known/jwks.json", 5), 1, 0.05)
        add("discovery", lambda node=node: node.get("/.well-known/openid-configuration", 5), 1, 0.05)
        add("live", lambda node=node: node.management.get("/health/live", 5), 1, 0.1)
        add("ready", lambda node=node: node.management.get("/health/ready", 5), 1, 0.1)
    await asyncio.sleep(2)
    watch = Watch(nodes)
    frozen = await asyncio.to_thread(outage.begin)
    try:
        await asyncio.sleep(frozen + seconds - time.monotonic())
    finally:
        thawed = time.monotonic()
        outage.end()
    # Until nothing fails for a while.
    await asyncio.sleep(10)
    while time.monotonic() < thawed + NORMAL + 5 and any(e.outcome != 200 for k in kinds for e in load.between(k, time.monotonic() - 5)):
        await asyncio.sleep(0.25)
    ended = time.monotonic()
    memory, files = watch.finish()
    await load.stop()

    def during(kind, begin=frozen):
        return load.between(kind, begin, thawed)

    print(f"{outage.what} for {seconds} s, P {propagation} s; {outage.told()}:")
    for kind in WRITES:
        # What was asked for before and answered at that moment may have been good.
        needed = [event for event in during(kind)
                  if event.outcome != 200 or event.at - event.seconds > frozen or event.at > frozen + ON_ITS_WAY]
        print(f"    {kind} {outcomes(needed)}, answered in {spread(event.seconds for event in needed)}, bar {1e3 * SOON:.0f} ms")
        check(set(outcomes(needed)) == {503}, kind, "should be 503")
        check(max(event.seconds for event in needed) <= SOON, "that took too long")
    for kind in READS:
        came = during(kind)
        good = [event.at - frozen for event in came if event.outcome == 200]
        refused = [event.at - frozen for event in came if event.outcome == 503]
        told = f", refused from {min(refused):.2f} s on" if refused else ""
        print(f"    {kind} {outcomes(came)}: good until {max(good):.2f} s{told};"
              f" answered in {spread(event.seconds for event in came)}")
        check(set(outcomes(came)) <= {200, 503}, kind)
        check(max(good) <= propagation + bar(0.2), kind, "stop at P")
        check(not refused or min(refused) >= propagation - propagation / 3 - bar(1), kind, "go on until P")
        check(bool(refused) == (seconds > propagation), kind, "were refused, or not, at the wrong time")
        check(max(event.seconds for event in came) <= SOON, "that took too long")
    print(f"    keys {outcomes(during('keys'))}, discovery {outcomes(during('discovery'))}, live {outcomes(during('live'))}, ready {outcomes(during('ready'))}")
    print(f"    memory {max(had for had, _ in watch.before):.0f} MiB before, at most {memory:.1f} MiB more of {watch.looked} looks;"
          f" at most {files} more files open; 503 without Retry-After: {len(bare)}")
    last = {kind: max([event.at - thawed for event in load.between(kind, thawed) if event.outcome != 200] or [0.0]) for kind in kinds}
    for kind in kinds:
        after = load.between(kind, min(thawed + NORMAL, ended - 5))
        check(set(outcomes(after)) == {200}, f"it should be good {NORMAL:.0f} s after, and stay so:", kind, outcomes(after))
    first = {kind: min(event.at - thawed for event in load.between(kind, thawed) if event.outcome == 200) for kind in kinds}
    print("    when it goes on, the first good answer after: " + ", ".join(f"{kind} {at:.2f} s" for kind, at in first.items()))
    print("    and the last failure: " + ", ".join(f"{kind} {at:.2f} s" for kind, at in last.items()))
    check(not bare, "503 without Retry-After:", bare[:1])
    for kind in ("keys", "discovery"):
        check(during(kind) and set(outcomes(load.between(kind, 0))) == {200}, kind, "must be served throughout")
    check(set(outcomes(load.between("live", 0))) == {200}, "the nodes live")
    stopped = during("ready", frozen + propagation + 1)
    check(set(outcomes(stopped)) <= {503}, "the nodes are not ready")
    check(watch.looked >= seconds / bar(0.5), "they were looked at", watch.looked, "times")
    check(memory <= MORE_MEMORY, "that is too much memory")
    check(files <= MORE_FILES, "those are too many files")
