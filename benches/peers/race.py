"""How many of many requests at the same moment get tokens for the same code: each code is redeemed by RACING requests, all written
to connections that are open already, at each service in turn. `benches/peers/run race` sets the environment.

A person signs in anew for each code, at a public client with PKCE, so that no code's grant is another's. Counted are the answers, and of
the access tokens that were given out those that userinfo takes when all have been answered."""

import asyncio
import base64
import collections
import contextlib
import hashlib
import http.cookies
import json
import os
import pathlib
import re
import secrets
import sys
import time
import urllib.parse

import services
from services import REDIRECT_URI

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "tests/cluster"))
from client import Target, encoded, read_answer  # noqa: E402

RACING = int(os.environ.get("RACING", "200"))
codes, wanted = int(sys.argv[1]), sys.argv[2:]


async def code_of(service, client, challenge):
    """What a browser without cookies is sent back with."""
    target, jar = Target(service.port), http.cookies.SimpleCookie()
    asked = {
        "response_type": "code", "client_id": client, "redirect_uri": REDIRECT_URI, "scope": "openid",
        "state": secrets.token_urlsafe(8), "code_challenge": challenge, "code_challenge_method": "S256",
    }  # fmt: skip
    method, path, fields = "GET", f"{service.authorize}?{urllib.parse.urlencode(asked)}", None
    for _ in range(10):
        cookies = "; ".join(f"{each.key}={each.value}" for each in jar.values())
        answer = await target.send(method, path, fields, {"Cookie": cookies})
        for cookie in answer.headers.get("set-cookie", []):
            name, value = cookie.split(";")[0].split("=", 1)
            jar.pop(name, None)
            if value:
                jar[name] = value
        location = answer.headers.get("location", [""])[0]
        if location.startswith(REDIRECT_URI):
            given = urllib.parse.parse_qs(urllib.parse.urlsplit(location).query)
            if "code" not in given:
                raise SystemExit(f"{service.name}: {location}")
            return given["code"][0]
        if location:
            method, path, fields = "GET", urllib.parse.urljoin(path, location.removeprefix(service.url)), None
        else:
            page, method = answer.body.decode(), "POST"
            action = re.search('action="([^"]*)"', page)
            if answer.status != 200 or not action:
                raise SystemExit(f"{service.name}: {answer}")
            hidden = [tag for tag in re.findall(r"<input[^>]*>", page) if 'type="hidden"' in tag]
            fields = {re.search('name="([^"]*)"', tag)[1]: re.search('value="([^"]*)"', tag)[1] for tag in hidden}
            fields |= {"username": "somebody@example.com", "password": services.PASSWORD, "decision": "allow"}
            path = urllib.parse.urljoin(path, action[1])
    raise SystemExit(f"{service.name}: no end of redirects")


async def redeem_at_once(service, form):
    """The answers, as (status, members); a connection that was cut off has the status 0."""
    request = encoded(service.port, "POST", service.token, form, {})
    connections = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", service.port) for _ in range(RACING)))
    for _, writer in connections:
        writer.write(request)

    async def answer(reader, writer):
        try:
            async with asyncio.timeout(60):
                status, _, body, _ = await read_answer(reader)
        except (OSError, EOFError, TimeoutError):
            return 0, {}
        finally:
            writer.close()
        try:
            return status, json.loads(body)
        except ValueError:
            return status, {}

    return await asyncio.gather(*(answer(*connection) for connection in connections))


async def accepted(service, tokens):
    target, taken = Target(service.port), 0
    for token in tokens:
        answer = await target.get(service.userinfo, Authorization=f"Bearer {token}")
        taken += answer.status == 200
    return taken


async def race(service):
    client, others, winners, living = service.racer(), collections.Counter(), [], 0
    seconds = 0.0
    for _ in range(codes):
        verifier = secrets.token_urlsafe(32)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        form = {
            "grant_type": "authorization_code", "code": await code_of(service, client, challenge),
            "redirect_uri": REDIRECT_URI, "client_id": client, "code_verifier": verifier,
        }  # fmt: skip
        begun = time.monotonic()
        answers = await redeem_at_once(service, form)
        seconds += time.monotonic() - begun
        tokens = {members["access_token"] for status, members in answers if status == 200}
        winners.append(len(tokens))
        others.update(f"{status} {members.get('error', '')}".strip() for status, members in answers if status != 200)
        living += await accepted(service, tokens)
    several = [number for number in winners if number > 1]
    print(
        f"{service.name}: {codes} codes x {RACING}: none won {winners.count(0)}, one won {winners.count(1)}, several won"
        f" {len(several)}{f' (at most {max(several)}, {sum(several)} in all)' if several else ''}; refused: {dict(others)};"
        f" {living} of {sum(winners)} access tokens taken afterwards; {codes * RACING / seconds:.0f} redemptions a second",
        flush=True,
    )
    if isinstance(service, services.Signet) and (winners != [1] * codes or set(others) - {"400 invalid_grant"}):
        raise SystemExit("FAILED: exactly one should win, and the others be told invalid_grant")


def started():
    """Each service in turn, with what it needs, ended before the next begins."""
    signet = services.Signet
    made = {
        "node-oidc-provider, in memory": lambda keep: [keep(services.NodeProvider("node-memory", 19110))],
        "node-oidc-provider, Redis": lambda keep: [
            keep(services.Redis("redis", 19130)).start(),
            keep(services.NodeProvider("node-redis", 19112, store="redis", redis=19130))],
        "node-oidc-provider, Redis, consume refuses": lambda keep: [
            keep(services.Redis("redis", 19131)).start(),
            keep(services.NodeProvider("node-once", 19114, store="redis-once", redis=19131))],
        "django-oauth-toolkit, PostgreSQL": lambda keep: [
            database := keep(services.Postgres(19140)).start(), keep(services.DjangoProvider("django", 19120, database.port))],
        "Signet, sled": lambda keep: [keep(signet("signet", 19100))],
        "Signet, PostgreSQL": lambda keep: [
            database := keep(services.Postgres(19141)).start(), keep(signet("signet-postgres", 19102, store=database.url))],
    }  # fmt: skip
    for name, parts in made.items():
        if wanted and not any(word.lower() in name.lower() for word in wanted):
            continue
        with contextlib.ExitStack() as ends:

            def keep(part, ends=ends):
                ends.callback(part.end)
                return part

            service = parts(keep)[-1]
            service.name = name
            yield service.start()


for each in started():
    asyncio.run(race(each))
