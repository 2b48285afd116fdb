"""Row 18: SIGTERM under load. Nothing that was begun is cut off, and the service says that it is not ready before it goes."""

import http.client
import os
import random
import signal
import socket
import threading
import time

from service import FULL, STORE, Service, basic, connect, fail, say

ROUNDS, CLIENTS = (100 if FULL else 5), 8
chance = random.Random(18)
answered = unanswered = 0
longest = 0.0
service = Service(18620)
authorization = basic(service.credentials("demo client"))["Authorization"]
BODY = "grant_type=client_credentials"
HEAD = (f"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(BODY)}\r\n\r\n")


def whole(text):
    """Whether it is one whole answer, by its own length."""
    head, gap, body = text.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    return bool(gap) and bool(lengths) and len(body) == int(lengths[0])


def read(one):
    """One answer; empty if the connection ended before its first byte."""
    text = b""
    while not whole(text):
        try:
            part = one.recv(65536)
        except ConnectionError:
            part = b""
        if not part:
            return text
        text += part
    return text


def client(over, counts):
    one = None
    while True:
        try:
            one = one or connect(service.port)
            one.sendall((HEAD + BODY).encode())
        except OSError:
            if over.is_set():
                return
            one = None
            counts["unanswered"] += 1
            continue
        text = read(one)
        if not text:
            # Closed while nothing was under way, as the request was on its way: it is sent anew elsewhere (RFC 9112, 9.3.1).
            counts["unanswered"] += 1
            one.close()
            one = None
            if over.is_set():
                return
        elif not whole(text) or not text.startswith(b"HTTP/1.1 200 "):
            fail(service, f"a cut or failed answer: {text[:300]}")
        else:
            counts["answered"] += 1
            if b"\r\nconnection: close" in text.lower():
                one.close()
                one = None


for number in range(ROUNDS):
    over, counts = threading.Event(), {"answered": 0, "unanswered": 0}
    clients = [threading.Thread(target=client, args=(over, counts)) for _ in range(CLIENTS)]
    [thread.start() for thread in clients]
    # One whose body is under way when the end comes.
    slow = connect(service.port)
    slow.sendall((HEAD + BODY[:5]).encode())
    time.sleep(0.2 + chance.random() * 0.3)
    begun = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    over.set()
    seen = []
    while time.monotonic() - begun < 0.4:
        try:
            seen.append(service.ready()[0])
        except OSError:
            seen.append(None)
        time.sleep(0.02)
    if 503 not in seen or None in seen:
        fail(service, f"while a request was under way, readiness was {seen}")
    slow.sendall(BODY[5:].encode())
    text = read(slow)
    if not whole(text) or not text.startswith(b"HTTP/1.1 200 "):
        fail(service, f"the request that was under way was answered with {text[:300]}")
    code = service.process.wait(40)
    took = time.monotonic() - begun
    [thread.join() for thread in clients]
    longest = max(longest, took)
    if code != 0 or took > 30:
        fail(service, f"it ended with {code} after {took:.1f} s")
    answered += counts["answered"] + 1
    unanswered += counts["unanswered"]
    service.start()
say(f"stop: {ROUNDS} x SIGTERM under load{' over PostgreSQL' if STORE else ''}: {answered} answers, 0 cut; {unanswered} requests found a closed connection and got no byte; "
    f"not ready first {ROUNDS}/{ROUNDS}; the longest end took {longest:.2f} s")
service.close()
