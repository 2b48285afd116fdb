"""The cases of benches/load/people, which sets the environment: measured in rounds, printed as medians with the smallest
and the largest."""

import collections
import concurrent.futures
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time
import urllib.request

rounds, seconds, cases = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
env = os.environ
binaries, directory = pathlib.Path(env["BIN"]), pathlib.Path(env["DIR"])
PASSWORD, PEOPLE = "a sentence that nobody guesses", 500
MAY_WAIT = 60 # A few less than the service lets wait for one permit: nobody is sent away.
CLIENTS_AT_A_TIME = [1, 32, 256]
PLAIN, WITH_ID_TOKEN = "read offline_access", "openid read offline_access"
# Otherwise in PostgreSQL, which counts no flushes here, and for which the bars of codes and refresh tokens are not meant.
ON_SLED = not env.get("SIGNET_STORE", "").startswith("postgres")
figures = collections.defaultdict(list)
short = []


def held_against(name, values, bar, at_most=False):
    """Notes a median that is on the wrong side of its bar."""
    median = statistics.median(values)
    if (median > bar) if at_most else (median < bar):
        short.append(f"{name}: {median:.2f} in the median, the bar is {bar}")


def run(core, *command, **more):
    done = subprocess.run(
        ["taskset", "-c", str(core), *map(str, command)], capture_output=True, text=True, env={**env, **more}
    )
    if done.returncode:
        sys.exit(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout


def word(output, name):
    return next(line.split(" ", 1)[1] for line in output.splitlines() if line.startswith(name + " "))


def service_cpu():
    fields = pathlib.Path(f"/proc/{env['SERVICE']}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wrk_cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def flushes():
    text = urllib.request.urlopen(env["MANAGEMENT"] + "/metrics").read().decode()
    return float(word(text, "signet_store_flushes_total"))


Measured = collections.namedtuple("Measured", "rate median p99 failed service generator grouped used")


def wrk(kind, connections, values="-", taken=None, algorithm="RS256", duration=seconds, **more):
    """Requests a second, median and 99th percentile in milliseconds, failures; what each took of the service's core and
    of the generator's, in microseconds; how many shared a flush; how many values were used."""
    client = {"CLIENT_ID": env[f"CLIENT_ID_{algorithm}"], "CLIENT_SECRET": env[f"CLIENT_SECRET_{algorithm}"]}
    command = ["wrk", "-t1", f"-c{connections}", f"-d{duration}s", "--latency", "-s", "benches/load/people.lua"]
    arguments = [env["ISSUER"], "--", kind, values] + ([taken] if taken else [])
    before = service_cpu(), wrk_cpu(), flushes()
    output = run(1, *command, *arguments, **client, **more)
    service, generator, flushed = (after - b for after, b in zip((service_cpu(), wrk_cpu(), flushes()), before))
    lines = [line for line in output.splitlines() if line.startswith("RESULT ")]
    if not lines:
        sys.exit(output)
    rate, median, p99, failed, used = map(float, lines[0].split()[1:6])
    made = rate * duration
    costs = 1e6 * service / made, 1e6 * generator / made, made / max(flushed, 1)
    return Measured(rate, median, p99, int(failed), *costs, int(used))


class Codes:
    """Codes that wait to be exchanged, for one client and one scope."""

    def __init__(self, cookies, algorithm, scope):
        self.cookies, self.algorithm, self.scope, self.waiting = cookies, algorithm, scope, []
        self.path = directory / f"codes-{algorithm}-{len(scope)}"

    def ahead(self, number):
        while len(self.waiting) < number:
            self.path.unlink(missing_ok=True)
            issued = wrk("authorize", 32, "-", self.path, self.algorithm, 1, COOKIES=self.cookies, SCOPE=self.scope)
            if self.algorithm == "RS256" and self.scope == PLAIN:
                figures["code issued 32"].append(issued)
            self.waiting += self.path.read_text().split()
        self.path.write_text("\n".join(self.waiting) + "\n")

    def exchange(self, connections, duration=seconds, taken=None):
        self.ahead(12_000 * duration)
        measured = wrk("code", connections, self.path, taken, self.algorithm, duration)
        self.waiting = self.waiting[measured.used :]
        return measured

    def refresh(self, connections):
        tokens = directory / "refresh_tokens"
        tokens.unlink(missing_ok=True)
        self.exchange(32, 1, tokens)
        return wrk("refresh", connections, tokens, None, self.algorithm)


def flushes_of_the_disk(duration=0.5):
    """What the store pays at least: 4 KiB appended, and fdatasync."""
    latencies = []
    with open(directory / "flushed", "wb", buffering=0) as file:
        end = time.monotonic() + duration
        while time.monotonic() < end:
            begun = time.monotonic()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            latencies.append(1e3 * (time.monotonic() - begun))
    latencies.sort()
    return len(latencies) / duration, latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100]


def register_people(number):
    def one(number):
        person = {"name": f"Person {number}", "email": f"person-{number}@example.com", "password": PASSWORD}
        headers = {"Authorization": "Bearer " + env["ADMIN_TOKEN"], "Content-Type": "application/json"}
        request = urllib.request.Request(env["ISSUER"] + "/admin/users", json.dumps(person).encode(), headers)
        urllib.request.urlopen(request).read()

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        list(threads.map(one, range(number)))


def sign_ins(duration, people=PEOPLE):
    arguments = [env["ISSUER"], env["CLIENT_ID_RS256"], env["REDIRECT_URI"], PASSWORD, people, duration]
    return run(1, "nice", "-n", "10", binaries / "examples/sign_ins", *arguments)


def bare_argon2():
    return float(word(run(0, binaries / "examples/password_cost", 1, seconds), "argon2"))


def sign_ins_beside_argon2():
    before, duration = bare_argon2(), seconds + 2
    used, flushed = service_cpu(), flushes()
    rate, away, median, p99 = map(float, word(sign_ins(duration, MAY_WAIT), "sign_ins").split())
    # In the warm-up of a second as many were made; those that ended a little later are part of neither.
    made = rate * (duration + 1)
    used, flushed = 1e3 * (service_cpu() - used) / made, (flushes() - flushed) / made
    bare = (before + bare_argon2()) / 2
    figures["sign-ins"].append((bare, rate, 100 * rate / bare, away, median, p99, used, flushed))


def tokens_beside_sign_ins():
    """Tokens while 500 people sign in beside tokens while nobody does."""
    figures["quiet"].append(wrk("tokens", 16))
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        crowd = threads.submit(sign_ins, seconds + 3, PEOPLE)
        time.sleep(1.5)
        figures["busy"].append(wrk("tokens", 16))
        figures["crowd"].append(list(map(float, word(crowd.result(), "sign_ins").split())))


def one_round(plain, with_id_token):
    figures["disk"].append(flushes_of_the_disk())
    for connections in CLIENTS_AT_A_TIME:
        figures[f"code {connections}"].append(plain.exchange(connections))
        figures[f"refresh {connections}"].append(plain.refresh(connections))
    for codes in with_id_token:
        figures[f"code 32, {codes.algorithm} ID token"].append(codes.exchange(32))
        figures[f"refresh 32, {codes.algorithm} ID token"].append(codes.refresh(32))
    asked = directory / "access_tokens"
    asked.write_text("\n".join(access_tokens(100)) + "\n")
    figures["introspection 32"].append(wrk("introspect", 32, asked))
    figures["revocation 32"].append(revocations())
    sign_ins_beside_argon2()
    tokens_beside_sign_ins()


def revocations():
    issued = directory / "issued"
    issued.unlink(missing_ok=True)
    while not issued.exists() or len(issued.read_text().split()) < 10_000 * seconds:
        wrk("issue", 32, "-", issued, "ES256", 1)
    return wrk("revoke", 32, issued, None, "ES256")


def access_tokens(number):
    form = f"grant_type=client_credentials&client_id={env['CLIENT_ID_RS256']}&client_secret={env['CLIENT_SECRET_RS256']}"
    answers = (urllib.request.urlopen(env["ISSUER"] + "/oauth2/token", form.encode()) for _ in range(number))
    return [json.load(answer)["access_token"] for answer in answers]


def spread(values, digits=0):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def report_sign_ins():
    bare, rate, share, away, median, p99, used, flushed = zip(*figures["sign-ins"])
    print(f"bare Argon2: {spread(bare, 1)} a second")
    print(f"sign-ins, {MAY_WAIT} people: {spread(rate, 1)} a second, {spread(share, 1)} % of it, bar 90 %")
    print(f"    p50 {spread(median)} ms, p99 {spread(p99)} ms; sent away {sum(away):.0f} times")
    written = f" and {spread(flushed, 1)} flushes of the store" if ON_SLED else ""
    print(f"    each {spread(used, 1)} ms of the service's core{written}")
    held_against("sign-ins, % of bare Argon2", share, 90)


def report():
    print("store: " + ("sled" if ON_SLED else "PostgreSQL"))
    rate, median, p99 = zip(*figures["disk"])
    print(f"disk: {spread(rate)} fdatasync a second, each {spread(median, 2)} ms, p99 {spread(p99, 2)} ms")
    for name in [name for name in figures if name[-1].isdigit() or name.endswith("token")]:
        rate, median, p99, failed, spent, generated, grouped, _ = zip(*figures[name])
        held_against(f"{name}, failed", [sum(failed)], 0, at_most=True)
        if ON_SLED and name in ["code 32", "refresh 32"]:
            held_against(f"{name}, a second", rate, 5000)
            held_against(f"{name}, p99 in ms", p99, 20, at_most=True)
        flushed = ON_SLED and not name.startswith("introspection")
        shared = f"; {spread(grouped, 1)} of them a flush" if flushed else ""
        print(f"{name}: {spread(rate)} a second, p50 {spread(median, 2)} ms, p99 {spread(p99, 2)} ms, failed {sum(failed)}")
        print(f"    each {spread(spent)} us of the service's core, {spread(generated)} us of the generator's{shared}")
    report_sign_ins()
    report_tokens()


def report_tokens():
    for name in ["quiet", "busy"]:
        rate, median, p99, failed, *_ = zip(*figures[name])
        print(f"{name} tokens: {spread(rate)} a second, p50 {spread(median, 2)} ms, p99 {spread(p99, 2)} ms, failed {sum(failed)}")
    ratios = [busy.p99 / quiet.p99 for busy, quiet in zip(figures["busy"], figures["quiet"])]
    print(f"    p99 while {PEOPLE} people sign in: {spread(ratios, 2)} times the quiet one, bar 2")
    held_against(f"token p99 while {PEOPLE} people sign in, times the quiet one", ratios, 2, at_most=True)
    held_against("tokens, failed", [sum(each.failed for each in figures["quiet"] + figures["busy"])], 0, at_most=True)
    rate, away, _, _ = zip(*figures["crowd"])
    print(f"    of whom {spread(rate, 1)} a second got in, and {spread(away)} times somebody was told to come back later")


def main():
    if cases == "sign-ins":
        register_people(MAY_WAIT)
        for _ in range(rounds):
            sign_ins_beside_argon2()
        return report_sign_ins()
    register_people(PEOPLE)
    if cases == "tokens":
        for _ in range(rounds):
            tokens_beside_sign_ins()
        return report_tokens()
    cookies = word(sign_ins(0), "cookies")
    plain = Codes(cookies, "RS256", PLAIN)
    with_id_token = [Codes(cookies, algorithm, WITH_ID_TOKEN) for algorithm in ["RS256", "ES256"]]
    for _ in range(rounds):
        one_round(plain, with_id_token)
    report()


if __name__ == "__main__":
    main()
    if short:
        sys.exit("SHORT OF THE BAR\n" + "\n".join(short))
