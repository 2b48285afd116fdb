"""Holds the Kubernetes manifests against the binary: their settings, ports, paths and files, and the promises of the
documentation."""

import os
import re
import subprocess
import sys
import tomllib

import yaml

from settings import variables

binary, scratch = sys.argv[1:]
MANIFEST = "deploy/kubernetes.yaml"
objects = list(yaml.safe_load_all(open(MANIFEST)))


def check(good, what):
    if not good:
        sys.exit(f"{MANIFEST}: {what}")


def the(kind, name="signet", among=None):
    found = [each for each in among or objects if each["kind"] == kind and each["metadata"]["name"] == name]
    check(len(found) == 1, f"one {kind} {name}")
    return found[0]


toml = the("ConfigMap")["data"]["signet.toml"]
settings = tomllib.loads(toml)
# Wrong settings have an exit code of their own; that nobody is ready here has another. The key-encryption key is not looked at.
path = os.path.join(scratch, "kubernetes.toml")
with open(path, "w") as file:
    file.write(toml.replace("0.0.0.0:8081", "127.0.0.1:1"))
asked = subprocess.run([binary, "ready", "--config", path], capture_output=True, text=True, env={})
check(asked.returncode == 1, f"the settings are refused: {asked.stderr}")
with open(path, "a") as file:
    file.write("workres = 1\n")
asked = subprocess.run([binary, "ready", "--config", path], capture_output=True, text=True, env={})
check(asked.returncode == 2, "a wrong setting would not be noticed")

nodes = the("StatefulSet")["spec"]
pod = nodes["template"]["spec"]
container, = pod["containers"]
check(nodes["replicas"] >= 2, "several nodes")
check(the("PodDisruptionBudget")["spec"]["minAvailable"] < nodes["replicas"], "the budget leaves a node to be replaced")
for variable in container["env"]:
    check(variable["name"] in variables(), f"{variable['name']} is not a setting")
# The environment is stronger than the file: what the image sets must not undo the file's settings.
environment = dict(re.findall(r"(SIGNET_[A-Z_]+)=(\S+)", open("deploy/Dockerfile").read()))
environment |= {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}
for key, value in settings.items():
    given = environment.get("SIGNET_" + key.upper(), value)
    check(given == value, f"{key} = {value} in the file, {given} in the environment")

ports = {port["name"]: port["containerPort"] for port in container["ports"]}
check(ports["public"] == int(settings["listen"].rsplit(":", 1)[1]), "the public port is the one that is listened on")
check(ports["management"] == int(settings["management_listen"].rsplit(":", 1)[1]), "and that of the management listener")
check("tls" in settings and settings["issuer"].startswith("https://"), "TLS")
managed = re.findall(r"^  (/health/\w+|/metrics):", open("openapi.yaml").read(), re.MULTILINE)
probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
for kind, probe in probes.items():
    check(probe["port"] == "management" and probe["path"] in managed, f"the {kind} probe asks what is served")
check(probes["readiness"]["path"] == "/health/ready", "readiness")
check(probes["liveness"]["path"] == "/health/live", "a store that is away must not restart every node")

# How long a call of the store may take in all, in seconds: what is set, and an eighth more.
waits = int(re.search(r"^\| `postgres.timeout` \| `(\d+)ms`", open("docs/settings.md").read(), re.MULTILINE)[1]) * 9 / 8000
check("timeout" not in settings["postgres"] and container["readinessProbe"]["timeoutSeconds"] > 2 * waits,
      "who asks whether a node is ready waits until the store has not answered another and them")

# The end: the pause of preStop, the grace of the server, and some more.
grace = int(re.search(r"GRACE_SECONDS: u64 = (\d+)", open("src/http/server.rs").read())[1])
pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
check(pod["terminationGracePeriodSeconds"] >= pause + grace + 5, "the end has time for requests under way")
stop = re.search(r"TimeoutStopSec=(\d+)s", open("deploy/signet.service").read())[1]
check(int(stop) >= grace + 5, "so has systemd's")

# What sign-ins leave behind, beside all that the largest installation of docs/operations.md takes: else they end the pod.
sizes = open("docs/operations.md").read()
small, large = map(int, re.search(r"^\| memory \| (\d+) MiB, (\d+) MiB with ", sizes, re.MULTILINE).groups())
each = int(re.search(r"(\d+) MiB for each of `passwords.hashing_permits`", sizes)[1])
permits = settings.get("passwords", {}).get("hashing_permits")
check(permits, "as many passwords as the machine has cores would be hashed at once, and each keeps its memory")
for bound, base in (("requests", small), ("limits", large)):
    memory, = re.fullmatch(r"(\d+)Mi", container["resources"][bound]["memory"]).groups()
    check(base + permits * each <= int(memory), f"{bound}: {base} MiB and {permits} times {each} for passwords fit into {memory}")

mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
kept = {claim["metadata"]["name"] for claim in nodes["volumeClaimTemplates"]}
check(settings["data_dir"].startswith(mounts["data"] + "/") and "data" in kept, "the audit log outlives the pod")
volumes = {volume["name"]: volume for volume in pod["volumes"]}
check(set(mounts) == set(volumes) | kept, "every volume is mounted")
for section, key in (("keys", "kek_file"), ("postgres", "password_file"), ("tls", "certificate_file"), ("tls", "private_key_file")):
    name = next((name for name, place in mounts.items() if os.path.dirname(settings[section][key]) == place), None)
    check(name in volumes, f"{section}.{key} is in a volume")
    secret = volumes[name]["secret"]
    check(secret["defaultMode"] & 0o027 == 0, f"{section}.{key} would be refused as open to others")
    check(secret["secretName"] in open("docs/operations.md").read(), f"docs/operations.md makes {secret['secretName']}")
check(pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsUser"], "the group of the files is the service's")

secure = {**pod["securityContext"], **container["securityContext"]}
check(secure["runAsNonRoot"] and secure["runAsUser"] > 0 and secure["readOnlyRootFilesystem"], "not as root, nothing written")
check(secure["allowPrivilegeEscalation"] is False and secure["capabilities"]["drop"] == ["ALL"], "no privileges")
check(secure["seccompProfile"]["type"] == "RuntimeDefault" and pod["automountServiceAccountToken"] is False, "no more than needed")

labels = nodes["template"]["metadata"]["labels"]
selectors = [nodes["selector"]["matchLabels"], the("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
             the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"], the("Service")["spec"]["selector"],
             the("Service", nodes["serviceName"])["spec"]["selector"]]
check(all(selector.items() <= labels.items() for selector in selectors), "every selector finds the pods")
check([port["targetPort"] for port in the("Service")["spec"]["ports"]] == ["public"], "the management listener is not published")
open_to_all = [rule for rule in the("NetworkPolicy")["spec"]["ingress"] if "from" not in rule]
check([rule["ports"] for rule in open_to_all] == [[{"port": "public"}]], "from anywhere by the public port only")

# Behind an ingress: what is published is asked of every node, all else of those that are ready.
MANIFEST = "deploy/kubernetes-ingress.yaml"
behind = list(yaml.safe_load_all(open(MANIFEST)))
check(len(behind) == 3, "two Services and an Ingress")
for name, every in (("signet", False), ("signet-published", True)):
    service = the("Service", name, behind)["spec"]
    check(service.get("publishNotReadyAddresses", False) == every, f"{name}: of all nodes {every}")
    check(service.get("type", "ClusterIP") == "ClusterIP", f"{name} is reached through the ingress alone")
    check(service["selector"].items() <= labels.items(), f"{name} finds the pods")
    check([(port["name"], port["targetPort"]) for port in service["ports"]] == [("http", "public")], f"{name}: the public port")
ingress = the("Ingress", among=behind)["spec"]
rule, = ingress["rules"]
check("https://" + rule["host"] == settings["issuer"], "the host is the issuer's")
check(ingress["tls"] == [{"hosts": [rule["host"]], "secretName": "signet-tls"}], "by TLS, with the Secret that is made")
routed = {path["path"]: path["backend"]["service"] for path in rule["http"]["paths"]}
check(all(path["pathType"] == "Prefix" for path in rule["http"]["paths"]), "prefixes")
check(all(backend["port"] == {"name": "http"} for backend in routed.values()), "the Services' port")
served = set(re.findall(r"^  (/[^\s:]*):", open("openapi.yaml").read(), re.MULTILINE)) - set(managed)
check(any(path.startswith("/status/") for path in served) and "/oauth2/token" in served, "what is served is known")
for path in served:
    longest = max((prefix for prefix in routed if (path + "/").startswith(prefix.rstrip("/") + "/")), key=len)
    published = re.match("/(\\.well-known|status)(/|$)", path) is not None
    check(routed[longest]["name"] == ("signet-published" if published else "signet"), f"{path} goes by {longest}")
# As docs/operations.md has it: without TLS of its own, and the ingress's network trusted.
with open(path := os.path.join(scratch, "ingress.toml"), "w") as file:
    plain = re.sub(r"\[tls\]\n(.+\n)+", "", toml.replace("0.0.0.0:8081", "127.0.0.1:1"))
    check("tls" not in tomllib.loads(plain), "TLS is out")
    file.write('trusted_proxies = ["10.244.0.0/16"]\n' + plain)
asked = subprocess.run([binary, "ready", "--config", path], capture_output=True, text=True, env={})
check(asked.returncode == 1, f"the settings behind an ingress are refused: {asked.stderr}")
objects += behind
print(f"kubernetes: {len(objects)} objects; settings, ports, probes, files and times fit the binary")
