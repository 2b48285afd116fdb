"""Row 20: bodies and heads that are too long or odd are refused cheaply."""

import select
import threading
import time

from service import FULL, Service, ask, basic, connect, fail, say

REFUSED = 'signet_http_requests_total{route="/oauth2/token",status="413"}'
PARALLEL, PROMISED, ENOUGH = 500, 10 * 1024 * 1024, 64 * 1024
# Time enough for the service to answer, between two parts of a body, and where it has had all that it may need.
PAUSE, PATIENCE = 0.05, 10
# A head has to be there within 5 s, which one of so many threads may be too late for: it was not tried then.
HEAD_WITHIN = 4
service = Service(18640)
authorization = basic(service.credentials("demo client"))
HEAD = (f"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization['Authorization']}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {PROMISED}\r\n\r\n").encode()


def read(one):
    """What came; and whether the system has thrown the connection away, with what may have come before."""
    text = b""
    try:
        while part := one.recv(65536):
            text += part
    except ConnectionError:
        return text, True
    except OSError:
        pass
    return text, False


ADMIN = {"Authorization": "Bearer " + service.token("administrator")}
LONG = {"declared": f"Content-Length: {PROMISED}", "chunked": "Transfer-Encoding: chunked"}


def needed(path, headers, framing):
    """The answer to a body without an end, and how many bytes of it a lone client had sent when it came. It sends a KiB and waits for what
    the service makes of it, so that it has read no more than that, and nothing was on its way."""
    one, sent = connect(service.port), 0
    one.sendall("\r\n".join([f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/x-www-form-urlencoded",
                             *(f"{name}: {value}" for name, value in headers.items()), LONG[framing], "", ""]).encode())
    block = b"a" * 1024 if framing == "declared" else b"400\r\n" + b"a" * 1024 + b"\r\n"
    while not select.select([one], [], [], PAUSE if sent < ENOUGH else PATIENCE)[0]:
        if sent >= ENOUGH:
            fail(service, f"{path}, {framing}: no answer after {sent} bytes")
        one.sendall(block)
        sent += 1024
    text = one.recv(65536)
    one.close()
    return text.split(b" ")[1].decode() if text.startswith(b"HTTP/1.1 ") else "none", sent


# First: what a body needs to be refused.
told = {}
for path, headers, allowed in [
    ("/oauth2/token", authorization, {"413"}), ("/oauth/token", authorization, {"413"}), ("/admin/clients", ADMIN, {"413"}),
    *((path, authorization, {"413", "401", "403", "404"}) for path in ["/oauth2/sign-in", "/users", "/api/v1/apps", "/auth/token"]),
]:
    for framing in LONG:
        status, sent = needed(path, headers, framing)
        if status not in allowed:
            fail(service, f"{path}, {framing}: {status} after {sent} bytes of the body")
        told.setdefault((framing, status), []).append(sent)
say("bodies: a lone client that sends a KiB at a time had sent " + "; ".join(
    f"{framing}, {status}: at most {max(sent) // 1024} KiB" for (framing, status), sent in told.items()) + f" when the answer came (allowed {ENOUGH // 1024})")

statuses, lock, most = {}, threading.Lock(), [0]


def send():
    begun, sent, late = time.monotonic(), 0, True
    one = connect(service.port)
    try:
        one.sendall(HEAD)
        late = time.monotonic() - begun > HEAD_WITHIN
        block = b"a" * 65536
        while sent < PROMISED:
            sent += one.send(block)
    except OSError:
        late = late and time.monotonic() - begun > HEAD_WITHIN
    text, reset = read(one)
    status = "not tried" if late else text.split(b" ")[1].decode() if text.startswith(b"HTTP/1.1 ") else "reset" if reset else "closed without an answer"
    with lock:
        statuses[status] = statuses.get(status, 0) + 1
        most[0] = max(most[0], sent)


def flood():
    """All of them at once; gives whether enough of them got to see the answer."""
    statuses.clear()
    service.token()
    refused = service.metric(REFUSED, 0)
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
    tried = PARALLEL - statuses.get("not tried", 0)
    if set(statuses) - {"413", "reset", "not tried"}:
        fail(service, f"{statuses}")
    if tried < (PARALLEL if FULL else PARALLEL / 2):
        fail(service, f"{tried} of {PARALLEL} heads were sent within {HEAD_WITHIN} s")
    answered = service.metric(REFUSED, 0) - refused
    if not tried <= answered <= PARALLEL:
        fail(service, f"{answered:.0f} of {tried} were answered with 413")
    return statuses.get("413", 0) >= 0.99 * tried


# The service passes over for a second what comes after its answer. Whoever sends on after that is answered by the system with a reset, which
# makes the client's throw away what it has not read, the answer too (RFC 9112, section 9.6): no server can help it that does not
# listen for ever. A machine that does other work for that second has clients that come later.
if not flood():
    say("  repeated: fewer than 99 % saw their answer")
    if not flood():
        fail(service, f"twice fewer than 99 % saw their answer: {statuses}")


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
    # Short enough to be read: each level takes one byte, for none of them ends.
    "10,000-deep JSON that does not end": form("[" * 10000, JSON, "/oauth/token"),
    "10,000-deep JSON, admin": ask(service.port, "POST", "/admin/clients", '{"client_name":' + "[" * 10000, admin)[0],
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
    # Parameters that mean nothing are passed over, if there are not too many (RFC 6749, section 3.2). A head is read up to 128 KiB (decision 0029).
    harmless = name in ("not UTF-8", "64 KiB header")
    allowed = (200,) if harmless else (400, 404, 413, 414, 431) + ((0,) if "header" in name else ())
    if status not in allowed:
        fail(service, f"{name}: {status}")
say("bodies: " + ", ".join(f"{name} {status}" for name, status in odd.items()))
service.token()
if service.logged("panicked"):
    fail(service, "it panicked")
say("bodies: 0 panics")
service.close()
