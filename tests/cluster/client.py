"""An HTTP client over kept connections, many at once, and what it keeps count of."""

import asyncio
import collections
import json
import time
import urllib.parse

# A connection that was idle for longer may have been closed by the other side just now.
MOST_IDLE = 1.5

FORM, JSON = "application/x-www-form-urlencoded", "application/json"


class Answer(collections.namedtuple("Answer", "status headers body seconds")):
    def json(self):
        return json.loads(self.body)

    def member(self, name):
        try:
            return self.json().get(name)
        except ValueError:
            return None


class Broken(Exception):
    """No answer came: refused, reset, or too late."""


class Target:
    """One listener, and the connections to it that are not in use."""

    def __init__(self, port):
        self.port, self.idle = port, []

    async def send(self, method, path, body=None, headers=None, limit=10.0):
        begun = time.monotonic()
        writer = None
        try:
            async with asyncio.timeout(limit):
                reader, writer = await self._connection()
                writer.write(encoded(self.port, method, path, body, headers or {}))
                status, answered, content, keeps = await read_answer(reader)
        except (OSError, EOFError, TimeoutError) as broken:
            if writer:
                writer.close()
            raise Broken(f"{method} {path} at {self.port}: {type(broken).__name__} {broken}") from None
        except asyncio.CancelledError:
            if writer:
                writer.close()
            raise
        if keeps:
            self.idle.append((time.monotonic(), reader, writer))
        else:
            writer.close()
        return Answer(status, answered, content, time.monotonic() - begun)

    async def open(self, number):
        """So many connections that are not in use, so that as many requests can be sent at the same moment."""
        held, self.idle = self.idle, []
        for since, reader, writer in held:
            if usable(since, reader, writer):
                self.idle.append((since, reader, writer))
            else:
                writer.close()
        opened = await asyncio.gather(*(self._opened() for _ in range(number - len(self.idle))))
        self.idle += [(time.monotonic(), *each) for each in opened]

    async def _connection(self):
        while self.idle:
            since, reader, writer = self.idle.pop()
            if usable(since, reader, writer):
                return reader, writer
            writer.close()
        return await self._opened()

    async def _opened(self):
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def form(self, path, limit=10.0, **members):
        return await self.send("POST", path, members, limit=limit)

    async def get(self, path, limit=10.0, **headers):
        return await self.send("GET", path, None, headers, limit)


def usable(since, reader, writer):
    return time.monotonic() - since < MOST_IDLE and not reader.at_eof() and not writer.is_closing()


def encoded(port, method, path, body, headers):
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    if body is not None:
        headers = {"Content-Type": FORM, **headers}
        text = json.dumps(body) if headers["Content-Type"] == JSON else urllib.parse.urlencode(body)
        headers["Content-Length"] = len(text)
    else:
        text = ""
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n" + text).encode()


async def read_answer(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    status = int(head[0].split(" ")[1])
    headers = collections.defaultdict(list)
    for line in head[1:]:
        if line:
            name, value = line.split(":", 1)
            headers[name.lower()].append(value.strip())
    if "chunked" in headers.get("transfer-encoding", []):
        content = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            content += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    else:
        content = await reader.readexactly(int(headers.get("content-length", ["0"])[0]))
    return status, headers, content, headers.get("connection", [""])[0].lower() != "close"


def percentile(values, share):
    """What at least that share of them don't exceed; of less than a hundred, p99 is the largest."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def spread(values):
    values = list(values)
    if not values:
        return "p50, p99 and largest of none"
    p50, p99, largest = (f"{1e3 * percentile(values, share):.0f} ms" for share in (0.5, 0.99, 1))
    return f"p50 {p50}, p99 {p99}, largest {largest}"


Event = collections.namedtuple("Event", "kind at outcome seconds")


class Load:
    """Workers that each do one thing again and again until told to stop; what came of it, and when."""

    def __init__(self):
        self.events, self.tasks, self.running = [], [], True

    def add(self, kind, act, workers=1, pause=0.0):
        """`act()` returns the outcome: a status, or a word for what broke."""
        self.tasks += [asyncio.create_task(self._work(kind, act, pause)) for _ in range(workers)]

    def arrive(self, kind, act, rate):
        """So many a second, whether or not those before were answered: as clients come that know nothing of each other."""
        self.tasks.append(asyncio.create_task(self._arrivals(kind, act, rate)))

    async def _once(self, kind, act):
        begun = time.monotonic()
        try:
            outcome = await act()
        except Broken:
            outcome = "broken"
        now = time.monotonic()
        self.events.append(Event(kind, now, outcome, now - begun))

    async def _work(self, kind, act, pause):
        while self.running:
            await self._once(kind, act)
            await asyncio.sleep(pause)

    async def _arrivals(self, kind, act, rate):
        begun, count, under_way = time.monotonic(), 0, set()
        while self.running:
            while count < rate * (time.monotonic() - begun):
                task = asyncio.create_task(self._once(kind, act))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                count += 1
            await asyncio.sleep(0.005)
        await asyncio.gather(*under_way)

    async def stop(self):
        self.running = False
        await asyncio.gather(*self.tasks)

    def between(self, kind, begin, end=float("inf")):
        return [event for event in self.events if event.kind == kind and begin <= event.at < end]


def outcomes(events):
    return dict(collections.Counter(event.outcome for event in events))
