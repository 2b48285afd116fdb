"""Checks of the Dockerfile what can be checked without a container runtime: that what it copies is there, that Cargo finds
its targets among it and that it is all that the sources include, that what it names fits the binary."""

import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

from settings import variables

binary = sys.argv[1]
DOCKERFILE = "deploy/Dockerfile"


def instructions(path):
    text = re.sub(r"\\\n", " ", open(path).read())
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            word, rest = line.split(None, 1)
            yield word, rest


def check(good, what):
    if not good:
        sys.exit(f"{DOCKERFILE}: {what}")


stages, copied, artifacts, final = [], [], [], {}
for word, rest in instructions(DOCKERFILE):
    if word == "FROM":
        stages.append(rest)
        final = {}
    elif word == "COPY":
        parts = shlex.split(rest)
        flags = [part for part in parts if part.startswith("--")]
        *sources, _ = [part for part in parts if not part.startswith("--")]
        (artifacts if any(flag.startswith("--from=build") for flag in flags) else copied).extend(sources)
    final.setdefault(word, []).append(rest)
check(len(stages) == 2 and stages[0].endswith(" AS build"), "two stages, the first named build")
for source in copied:
    check(os.path.exists(source), f"{source} is not there")

# What is sent to the builder is what is copied, and nothing else: no key, no data.
ignored = [line.strip() for line in open(DOCKERFILE + ".dockerignore") if line.strip() and not line.startswith("#")]
check(ignored[0] == "*" and sorted(ignored[1:]) == sorted(f"!{source}" for source in copied),
      "the .dockerignore lets through what is copied and nothing else")

with tempfile.TemporaryDirectory() as context:
    for source in copied:
        to = os.path.join(context, source)
        os.makedirs(os.path.dirname(to), exist_ok=True)
        (shutil.copytree if os.path.isdir(source) else shutil.copy)(source, to)
    metadata = subprocess.run(["cargo", "metadata", "--no-deps", "--format-version=1", "--locked", "--offline"],
                              cwd=context, capture_output=True, text=True)
    check(metadata.returncode == 0, f"Cargo does not find everything: {metadata.stderr}")
    for folder, _, names in os.walk(os.path.join(context, "src")):
        for name in fnmatch.filter(names, "*.rs"):
            text = open(os.path.join(folder, name)).read().split("#[cfg(test)]")[0]
            for included in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', text):
                there = os.path.exists(os.path.join(folder, included))
                check(there or name == "tests.rs" or "/tests" in folder, f"{name} includes {included}, which is not copied")

builds = [rest for word, rest in instructions(DOCKERFILE) if word == "RUN"]
check(any("cargo build --release --locked --bin signet" in each for each in builds), "the release build, locked")
check(re.search(r'rust-version = "([0-9.]+)"', open("Cargo.toml").read())[1] in stages[0], "the compiler is the oldest that will do")
check("/src/target/release/signet" in artifacts, "the binary is taken over")
check(final["USER"] == ["65532:65532"], "not as root")
known = variables()
for name in re.findall(r"(SIGNET_[A-Z_]+)=", " ".join(final["ENV"])):
    check(name in known, f"{name} is not a setting")
command = re.search(r"CMD (\[.*\])", final["HEALTHCHECK"][0])[1]
program, *arguments = re.findall(r'"([^"]*)"', command)
check(final["ENTRYPOINT"] == [f'["{program}"]'], "the health check asks the same program")
helped = subprocess.run([binary, *arguments, "--help"], capture_output=True, text=True)
check(helped.returncode == 0 and "ready" in helped.stdout, f"signet {arguments} is no command")
check("RUN" not in final, "nothing runs in the second stage, which has no shell")
print(f"container: {len(copied)} sources are there, Cargo finds every target among them, the second stage has no shell and is not root")
