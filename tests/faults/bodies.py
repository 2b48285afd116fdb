"""Row 20: bodies and heads that are too long or odd are refused cheaply."""

import json
import threading

from service import Service, ask, basic, connect, fail, say

PARALLEL, PROMISED, ENOUGH = 500, 10 * 1024 * 1024, 64 * 1024
service = Service(18640)
authorization = basic(service.credentials("demo client"))
HEAD = (f"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization['Authorization']}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {PROMISED}\r\n\r\n").encode()


def read(one):
    text = b""
    try:
        while part := one.recv(65536):
            text += part
    except OSError:
        pass
    return text


# First: no more than 64 KiB of it are needed for the answer.
for path in ["/oauth2/token", "/oauth/token", "/admin/clients", "/oauth2/sign-in", "/users", "/api/v1/apps", "/auth/token"]:
    one = connect(service.port)
    one.sendall(HEAD.replace(b"/oauth2/token", path.encode()) + b"a" * ENOUGH)
    text = read(one)
    status = text.split(b" ")[1] if text else b"none"
    if status not in (b"413", b"401", b"403", b"404"):
        fail(service, f"{path}: {text[:200]}")
    if path == "/oauth2/token" and status != b"413":
        fail(service, f"{path}: {text[:200]}")

statuses, lock, most = {}, threading.Lock(), [0]


def send():
    one, sent = connect(service.port), 0
    try:
        one.sendall(HEAD)
        block = b"a" * 65536
        while sent < PROMISED:
            sent += one.send(block)
    except OSError:
        pass
    text = read(one)
    status = text.split(b" ")[1].decode() if text.startswith(b"HTTP/1.1 ") else "closed while sending"
    with lock:
        statuses[status] = statuses.get(status, 0) + 1
        most[0] = max(most[0], sent)


def flood():
    """All of them at once; gives whether enough of them got to see the answer."""
    statuses.clear()
    service.token()
    before = service.resident()
    threads = [threading.Thread(target=send) for _ in range(PARALLEL)]
    [thread.start() for thread in threads]
    peak = before
    while any(thread.is_alive() for thread in threads):
        peak = max(peak, service.resident())
    [thread.join() for thread in threads]
    say(f"bodies: {PARALLEL} x 10 MiB in parallel: {statuses}; at most {most[0] // 1024} KiB left a client's hands; "
        f"RSS {before:.0f} -> at most {peak:.0f} MiB (+{peak - before:.1f})")
    if peak - before > 20:
        fail(service, "more than 20 MiB")
    if set(statuses) - {"413", "closed while sending"}:
        fail(service, f"{statuses}")
    return statuses.get("413", 0) >= 0.99 * PARALLEL


# The service passes over for a second what comes after its answer; what comes later still makes the system throw the connection away,
# and may take the answer with it. A machine that does other work for that second comes later.
if not flood():
    say("  repeated: fewer than 99 % were answered")
    if not flood():
        fail(service, f"twice fewer than 99 % were answered: {statuses}")


def form(body, headers=None, path="/oauth2/token"):
    return ask(service.port, "POST", path, body, {**authorization, **(headers or {})})[0]


def head(headers):
    """0 if the service closed the connection while the head was sent."""
    try:
        return ask(service.port, "GET", "/.well-known/jwks.json", None, headers)[0]
    except OSError:
        return 0


GRANT = "grant_type=client_credentials"
JSON = {"Content-Type": "application/json"}
admin = {"Authorization": "Bearer " + service.token("administrator"), **JSON}
odd = {
    "10,000-deep JSON object": form('{"a":' * 10000 + "1" + "}" * 10000, JSON, "/oauth/token"),
    "10,000-deep JSON array": form("[" * 10000 + "]" * 10000, JSON, "/oauth/token"),
    "10,000-deep JSON, admin": ask(service.port, "POST", "/admin/clients", '{"client_name":' + "[" * 8000, admin)[0],
    "1,000 parameters": form(GRANT + "".join(f"&p{number}=v" for number in range(1000))),
    "1,000 times the same parameter": form(GRANT + "&scope=read" * 1000),
    "a parameter twice": form(GRANT + "&" + GRANT),
    "an empty body": form(""),
    "not UTF-8": form(b"\xff\xfe=\xff&" + GRANT.encode()),
    "64 KiB header": head({"X-Long": "a" * 65536}),
    "256 KiB header": head({"X-Long": "a" * 262144}),
    "1,000 headers": head({f"X-{n}": "a" for n in range(1000)}),
    "64 KiB path": ask(service.port, "GET", "/" + "a" * 65536)[0],
}
for name, status in odd.items():
    # Parameters that mean nothing are passed over (RFC 6749, section 3.2). A head is read up to 128 KiB.
    harmless = name in ("1,000 parameters", "not UTF-8", "64 KiB header")
    allowed = (200, 400, 431) if harmless else (400, 404, 413, 414, 431) + ((0,) if "header" in name else ())
    if status not in allowed:
        fail(service, f"{name}: {status}")
say("bodies: " + ", ".join(f"{name} {status}" for name, status in odd.items()))
service.token()
if service.logged("panicked"):
    fail(service, "it panicked")
say("bodies: 0 panics")
service.close()
