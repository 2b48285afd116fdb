"""Row 2: a power cut. What was never synced is lost, torn or there; what was acknowledged is there.

The service runs under strace(1), which records its every write and sync, and the clients' notes of what they were told. Then, for many
places in that recording, a directory is made as a disk may hold it when the power goes there (disk_model.py), a service is started on
it, and asked for all that had been acknowledged by then.

power.py [SEED]  A failure names what makes it again.
"""

import collections
import concurrent.futures
import http.client
import json
import os
import pathlib
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse

import disk_model
import power_load
from service import FULL, RESOURCE, Service, basic, form, kid, say

PORT = int(os.environ.get("SIGNET_FAULTS_PORT", "18670"))
SEED = int(sys.argv[1]) if len(sys.argv) > 1 else 2
# Seconds of load before the recording and in it, how often it starts while recorded, and how many cuts are judged.
WARM, SECONDS, STARTS, CUTS = (40, 15, 3, 3000) if FULL else (2, 1.5, 2, 120)
FIRST_CUTS = 600 if FULL else 30
NEWEST, OLDER = 12, 6
HOWS = ["nothing", "nothing", "all", "sectors", "sectors", "sectors", "pages", "any names"]
JUDGES = 3


class Survivor(Service):
    """A service started on what is left. That it does not start is an answer."""

    def __init__(self, port, directory, site):
        self.site, self.reason = site, None
        try:
            super().__init__(port, directory, **power_load.SETTINGS)
            self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        except DidNotStart as error:
            self.reason = str(error)

    def failed_to_start(self, reason):
        raise DidNotStart(reason + ": " + pathlib.Path(self.log.name).read_text()[-600:])

    def credentials(self, role):
        return tuple(self.site[role])

    def ask(self, method, path, body=None, headers=None):
        headers = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body[:1] == b"{" else body


    def token(self, role="demo client"):
        status, said = self.ask("POST", "/oauth2/token", form({"grant_type": "client_credentials"}), basic(self.credentials(role)))
        if status != 200:
            raise KeyError(f"no token for the {role}: {status} {said}")
        return said["access_token"]


class DidNotStart(Exception):
    pass


def record(work, name, port, seconds, starts, recorded):
    """Runs the load in a directory of its own; the disk as it was before, and the path of the recording."""
    directory, marks = work / "data", work / f"{name}.marks"
    directory.mkdir(exist_ok=True)
    before = disk_model.Disk(directory, marks)
    trace = work / f"{name}.strace"
    command = [sys.executable, power_load.__file__, directory, str(port), str(seconds), str(starts), marks, work / "history"]
    if recorded:
        command = [*disk_model.STRACE, "-o", trace, *command]
    subprocess.run(command, check=True)
    return before, trace


def read(before, trace):
    """The steps of a recording. Fails if it does not lead to what is in the directory: then something was not recorded."""
    steps = before.steps(disk_model.calls(trace))
    after = disk_model.Disk.__new__(disk_model.Disk)
    after.__dict__.update(copy(before.__dict__))
    for step in steps:
        after.step(*step)
    differences = after.differences()
    if differences:
        sys.exit(f"FAILED: {differences} was written by ways that were not recorded")
    return steps, after.counts


def copy(state):
    names = {}
    state = {**state, "renamed": [], "marks": [], "at": {}, "counts": dict.fromkeys(state["counts"], 0)}
    for name, what in state["names"].items():
        names[name] = what and disk_model.File(what.live)
    return {**state, "names": names, "live": dict(names)}


def places(steps, count, chance):
    """Where the power goes: half of them beside a sync or an acknowledgement, where it matters most."""
    moments = [number for number, (_, _, call) in enumerate(steps) if call[3] in ("fsync", "fdatasync", "rename") or (
        call[3] == "write" and "\\x61\\x63\\x6b\\x20" in call[4][1][:18])]
    first = next(number for number, (_, _, call) in enumerate(steps) if call[3] in ("mkdir", "pwrite64", "write", "rename"))
    near = [chance.choice(moments) + chance.choice([0, 1]) for _ in range(count // 2)]
    return sorted(near + [chance.randrange(first, len(steps) + 1) for _ in range(count - len(near))])


def cuts(disk, steps, count, deaf, seed):
    """Directories as the disk may hold them, with what had been asked for and acknowledged by then."""
    chance = random.Random(seed)
    done = 0
    for number, place in enumerate(places(steps, count, chance)):
        while done < place:
            call = steps[done][2]
            if not (deaf and call[3] in ("fsync", "fdatasync") and disk.file_of(call[4][0])[1] == "data/store/db"):
                disk.step(*steps[done])
            done += 1
        how = HOWS[number % len(HOWS)]
        yield how, place, disk.after_a_cut(how, chance), list(disk.marks), disk.unsure()


def lay(directory, files):
    directory.mkdir()
    for name, content in files.items():
        if content is None:
            (directory / name).mkdir()
        else:
            (directory / name).write_bytes(content)
            (directory / name).chmod(0o600)


def told(acts, marks):
    """The acts by kind, as they stood at the cut: number, act, and whether the answer had been heard."""
    heard = {int(mark[4:]) for mark in marks if mark.startswith("ack ")}
    asked = {int(mark[4:]) for mark in marks if mark.startswith("ask ")}
    earlier = min(asked, default=0)
    kinds = collections.defaultdict(list)
    for number, act in acts.items():
        if number < earlier:
            kinds[act["kind"]].append((number, act, act["heard"]))
        elif number in asked:
            kinds[act["kind"]].append((number, act, number in heard))
    return kinds


def some(acts, chance):
    """The newest, and some of the others."""
    return acts[-NEWEST:] + chance.sample(acts[:-NEWEST], min(OLDER, len(acts[:-NEWEST])))


class Judge:
    """Asks a survivor for everything that was acknowledged. Says what is lost."""

    def __init__(self, service, kinds, chance):
        self.service, self.kinds, self.chance, self.lost, self.asked = service, kinds, chance, [], collections.Counter()
        token = service.token("administrator")
        self.admin = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
        self.client, self.demo = basic(service.site["client"]), basic(service.credentials("demo client"))

    def expect(self, what, expected, found):
        self.asked[what] += 1
        if found != expected:
            self.lost.append(f"{what}: {found} instead of {expected}")

    def active(self, token, client):
        return self.service.ask("POST", "/oauth2/introspect", form({"token": token}), client)[1]["active"]

    def heard(self, kind):
        return some([act for _, act, heard in self.kinds[kind] if heard], self.chance)

    def judge(self):
        deleting = {act["id"]: heard for _, act, heard in self.kinds["delete"]}
        for act in self.heard("client"):
            if act["id"] not in deleting:
                self.expect("client", 200, self.service.ask("GET", "/admin/clients/" + act["id"], None, self.admin)[0])
        for act in self.heard("delete"):
            self.expect("deletion", 404, self.service.ask("GET", "/admin/clients/" + act["id"], None, self.admin)[0])
        for act in self.heard("user"):
            self.expect("user", 200, self.service.ask("GET", "/admin/users/" + act["id"], None, self.admin)[0])
        for act in self.heard("revoke"):
            self.expect("revocation", False, self.active(act["token"], self.demo))
        for act in self.heard("token"):
            self.expect("token", True, self.active(act["token"], self.demo))
        self.families()
        rotations = self.kinds["rotate"]
        if rotations and rotations[-1][2]:
            self.expect("rotation", True, kid(self.service.token()) in rotations[-1][1]["kids"])
        # Last, because it ends what came of them.
        for act in self.heard("code")[-3:]:
            members = {"grant_type": "authorization_code", "code": act["code"], "redirect_uri": power_load.REDIRECT_URI,
                       "code_verifier": power_load.VERIFIER}
            status, said = self.service.ask("POST", "/oauth2/token", form(members), self.client)
            self.expect("spent code", (400, "invalid_grant"), (status, said.get("error")))
        # And it goes on.
        body = json.dumps({"client_name": "x", "scope": "", "resources": [RESOURCE]})
        self.expect("new write", 201, self.service.ask("POST", "/admin/clients", body, self.admin)[0])

    def families(self):
        refreshes, ends = collections.defaultdict(list), {act["family"]: heard for _, act, heard in self.kinds["end"]}
        for _, act, heard in self.kinds["refresh"]:
            refreshes[act["family"]].append((act, heard))
        for number, act, _ in some([each for each in self.kinds["code"] if each[2]], self.chance):
            tokens = [act["refresh"]] + [each["refresh"] for each, heard in refreshes[number] if heard]
            under_way = not all(heard for _, heard in refreshes[number])
            for token in tokens[:-1]:
                self.expect("spent refresh token", False, self.active(token, self.client))
            if number in ends:
                if ends[number]:
                    self.expect("ended grant", False, self.active(tokens[-1], self.client))
            elif not under_way:
                self.expect("refresh token", True, self.active(tokens[-1], self.client))


class Report:
    def __init__(self):
        self.cuts, self.unsure, self.asked = collections.Counter(), 0, collections.Counter()
        self.not_started, self.lost = [], []


def judge(work, free_ports, site_and_acts, cut, number, seed):
    how, place, files, marks, unsure = cut
    site, acts = site_and_acts
    port = free_ports.get()
    directory = work / f"cut-{port}"
    kinds = told(acts, marks)
    service = None
    try:
        lay(directory, files)
        told_the_first = not any(not heard for _, _, heard in kinds["first start"])
        service = Survivor(port, directory, site if told_the_first else {})
        if service.reason:
            return how, place, unsure, service.reason, [], {}
        if not told_the_first:
            # Nobody has been told anything yet: it has to start, and that is all.
            return how, place, unsure, None, [], {"first start": 1}
        verdict = Judge(service, kinds, random.Random(seed * 1_000_003 + number))
        verdict.judge()
        if service.logged("panicked"):
            verdict.lost.append("it panicked")
        return how, place, unsure, None, verdict.lost, verdict.asked
    except (OSError, http.client.HTTPException, KeyError, SystemError) as error:
        return how, place, unsure, None, [f"{error!r}"], {}
    finally:
        if service:
            service.kill()
        if os.environ.get("SIGNET_POWER_KEEP"):
            shutil.copytree(directory, pathlib.Path(os.environ["SIGNET_POWER_KEEP"]) / f"{place}-{number}", dirs_exist_ok=True)
        shutil.rmtree(directory, ignore_errors=True)
        free_ports.put(port)


def judge_all(work, before, steps, count, seed, deaf=False):
    site_and_acts = json.loads((work / "history").read_text())
    site_and_acts = site_and_acts["site"], {int(number): act for number, act in site_and_acts["acts"].items()}
    disk = disk_model.Disk.__new__(disk_model.Disk)
    disk.__dict__.update(copy(before.__dict__))
    ports = queue.Queue()
    [ports.put(PORT + 2 * each) for each in range(JUDGES)]
    report, waiting = Report(), collections.deque()
    shared = pathlib.Path("/dev/shm")
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="signet-power-", dir=shared if os.access(shared, os.W_OK) else None))

    def count_in(future):
        how, place, unsure, reason, lost, asked = future.result()
        report.cuts[how] += 1
        report.unsure += unsure
        report.asked.update(asked)
        if reason:
            report.not_started.append((how, place, reason))
        if lost:
            report.lost.append((how, place, lost))

    try:
        with concurrent.futures.ThreadPoolExecutor(JUDGES) as pool:
            for number, cut in enumerate(cuts(disk, steps, count, deaf, seed)):
                waiting.append(pool.submit(judge, scratch, ports, site_and_acts, cut, number, seed))
                if len(waiting) > 2 * JUDGES:
                    count_in(waiting.popleft())
            [count_in(each) for each in waiting]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return report


def show(title, report):
    say(f"  {title}: {sum(report.cuts.values())} cuts ({', '.join(f'{n} {how}' for how, n in sorted(report.cuts.items()))}), with "
        f"{report.unsure / max(1, sum(report.cuts.values())):.1f} writes and names not synced on average; "
        f"{len(report.not_started)} did not start, {len(report.lost)} lost something; "
        f"looked for {', '.join(f'{n} x {what}' for what, n in sorted(report.asked.items()))}")
    for how, place, reason in report.not_started[:5]:
        say(f"    did not start ({how}, at {place}): {reason}")
    for how, place, lost in report.lost[:5]:
        say(f"    lost ({how}, at {place}): {lost[:4]}")


def main():
    begun = time.monotonic()
    if not shutil.which("strace"):
        say("power: PASSED OVER: strace is not installed")
        return 0
    work = pathlib.Path(tempfile.mkdtemp(prefix="signet-power-"))
    work.chmod(0o700)
    try:
        before, trace = record(work, "first", PORT, 0.3, 1, True)
        steps, first_counts = read(before, trace)
        first = judge_all(work, before, steps, FIRST_CUTS, SEED)
        show("from the first start", first)
        record(work, "warm", PORT, WARM, 1, False)
        before, trace = record(work, "load", PORT, SECONDS, STARTS, True)
        steps, counts = read(before, trace)
        say(f"  recorded: {counts}")
        report = judge_all(work, before, steps, CUTS, SEED)
        show("under load", report)
        deaf = judge_all(work, before, steps, max(16, CUTS // 20), SEED + 1, deaf=True)
        show("if the data file were never synced", deaf)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    say(f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
