"""Well-behaved clients, which measure what others do to them."""

import http.client
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

from service import basic, fail, form, host, say

# What p99 of good clients may become while others do their worst.
BAR = 2


class Good:
    """In a process of their own: one asks for tokens, one for the keys, and one, where a file names `tokens`, by introspection what is
    known of each in turn; so many times a second each. A request that was meant for a moment at which the answer before it had not come
    counts from that moment: it has waited too, as the requests of others would have."""

    def __init__(self, service, rate=50, tokens=None):
        self.service, self.rate, self.tokens = service, rate, tokens

    def measure(self, seconds):
        """By what is asked for: of each answer, the milliseconds that it took, and those for which the service had to answer. Fails if
        one is not 200."""
        return self.begin(seconds)()

    def begin(self, seconds):
        command = [sys.executable, __file__, str(self.service.port), str(self.service.process.pid), str(seconds), str(self.rate),
                   ":".join(self.service.credentials("demo client")), *([self.tokens] if self.tokens else [])]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

        def result():
            output, _ = child.communicate()
            if child.returncode:
                fail(self.service, "a good client was not served: " + output)
            return json.loads(output)

        return result


class Others:
    """For how long others had the cores that a client and the service's worker would have run on. What the service's own threads take
    from each other is its own doing."""

    def __init__(self, process):
        self.worker, self.threads = None, []
        for thread in pathlib.Path(f"/proc/{process}/task").iterdir():
            try:
                name = (thread / "comm").read_text()
                times = os.open(thread / "schedstat", os.O_RDONLY)
            except OSError:
                continue
            self.threads.append(times)
            if name.startswith("actix-rt|system"):
                self.worker = times if self.worker is None else self.worker
        self.client = threading.local()

    def seconds(self):
        """So far: of the service's worker, and of the client whose thread this is. Only the difference of two means something."""
        if not hasattr(self.client, "times"):
            self.client.times = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        ran = {times: self.read(times) for times in self.threads}
        own = sum(run for times, (run, _) in ran.items() if times != self.worker)
        return ran[self.worker][1], own, self.read(self.client.times)[1]

    @staticmethod
    def read(times):
        try:
            run, wait = os.pread(times, 64, 0).split()[:2]
        except OSError:
            # A thread that has ended.
            return 0.0, 0.0
        return int(run) / 1e9, int(wait) / 1e9

    @staticmethod
    def between(before, after):
        waited, own, client = (now - was for now, was in zip(after, before))
        return max(0.0, waited - max(0.0, own)) + client


def work(others, requests, port, seconds, rate):
    """What each answer took in milliseconds, and for how many of them the service had to answer; and what went wrong."""
    took, problems = [], []
    connection = http.client.HTTPConnection(host(), port, timeout=20)
    start = time.monotonic()
    # What was known of others when the client last did not lag behind.
    in_time = others.seconds()
    for number in range(int(seconds * rate)):
        meant = start + number / rate
        early = meant - time.monotonic()
        if early > 0:
            time.sleep(early)
        before = others.seconds()
        begun = time.monotonic()
        if early > 0:
            meant, in_time = begun, before
        try:
            connection.request(*requests[number % len(requests)])
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                problems.append(str(answer.status))
        except (OSError, http.client.HTTPException) as error:
            problems.append(repr(error))
            connection.close()
        ended = time.monotonic()
        after = others.seconds()
        # Not less than it took by itself, whatever was before.
        least = ended - begun - others.between(before, after)
        took.append((1e3 * (ended - meant), 1e3 * max(least, ended - meant - others.between(in_time, after), 0.0)))
    return took, problems


def main(port, process, seconds, rate, credentials, tokens=None):
    try:
        # Before those that the service is tried with: it is not to be measured how long this waits for a core.
        os.nice(-15)
    except OSError:
        pass
    headers = {**basic(credentials.split(":")), "Content-Type": "application/x-www-form-urlencoded"}
    ways = {
        "token": [("POST", "/oauth2/token", "grant_type=client_credentials", headers)],
        "keys": [("GET", "/.well-known/jwks.json", None, {})],
    }
    if tokens:
        ways["introspection"] = [("POST", "/oauth2/introspect", form({"token": token}), headers)
                                 for token in pathlib.Path(tokens).read_text().split()]
    others, came = Others(process), {}

    def client(name, requests):
        came[name] = work(others, requests, int(port), float(seconds), float(rate))

    # As it is, the one would wait up to 5 ms for the other, which is far longer than for the service.
    sys.setswitchinterval(1e-4)
    threads = [threading.Thread(target=client, args=each) for each in ways.items()]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    problems = [f"{name}: {problem}" for name, (_, found) in came.items() for problem in found]
    if problems:
        print(len(problems), problems[:3])
        sys.exit(1)
    print(json.dumps({name: took for name, (took, _) in came.items()}))


def percentile(values, percent):
    values = sorted(values)
    return values[min(len(values) - 1, len(values) * percent // 100)]


def percentiles(answers, percent):
    """Of what answers took, and of that for which the service had to answer."""
    return [percentile(values, percent) for values in zip(*answers)]


def compare(before, during, where):
    """Prints 99th percentiles before and after, and the ratio of those that the service had to answer for; gives the largest."""
    largest = 0
    for name, baseline in before.items():
        (median, _), (as_seen, was) = percentiles(baseline, 50), percentiles(baseline, 99)
        (median_now, _), (as_seen_now, now) = percentiles(during[name], 50), percentiles(during[name], 99)
        ratio = now / was
        largest = max(largest, ratio)
        mark = f", OVER THE BAR of x{BAR}" if ratio > BAR else ""
        say(f"  {where}: {name} p50 {median:.1f} -> {median_now:.1f} ms, p99 {was:.1f} -> {now:.1f} ms: x{ratio:.1f}{mark} "
            f"({len(during[name])} requests; {as_seen:.1f} -> {as_seen_now:.1f} ms with the time that others had their cores)")
    return largest


if __name__ == "__main__":
    main(*sys.argv[1:])
