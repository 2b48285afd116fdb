"""Holds the Kubernetes manifest against the binary: its settings, ports, paths and files, and the promises of the
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


def the(kind, name="signet"):
    found = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name]
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
check(ports["https"] == int(settings["listen"].rsplit(":", 1)[1]), "the public port is the one that is listened on")
check(ports["management"] == int(settings["management_listen"].rsplit(":", 1)[1]), "and that of the management listener")
check("tls" in settings and settings["issuer"].startswith("https://"), "TLS")
managed = re.findall(r"^  (/health/\w+|/metrics):", open("openapi.yaml").read(), re.MULTILINE)
probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
for kind, probe in probes.items():
    check(probe["port"] == "management" and probe["path"] in managed, f"the {kind} probe asks what is served")
check(probes["readiness"]["path"] == "/health/ready", "readiness")
check(probes["liveness"]["path"] == "/health/live", "a store that is away must not restart every node")

# The end: the pause of preStop, the grace of the server, and some more.
grace = int(re.search(r"GRACE_SECONDS: u64 = (\d+)", open("src/http/server.rs").read())[1])
pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
check(pod["terminationGracePeriodSeconds"] >= pause + grace + 5, "the end has time for requests under way")
stop = re.search(r"TimeoutStopSec=(\d+)s", open("deploy/signet.service").read())[1]
check(int(stop) >= grace + 5, "so has systemd's")

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
check([port["targetPort"] for port in the("Service")["spec"]["ports"]] == ["https"], "the management listener is not published")
open_to_all = [rule for rule in the("NetworkPolicy")["spec"]["ingress"] if "from" not in rule]
check([rule["ports"] for rule in open_to_all] == [[{"port": "https"}]], "from anywhere by https only")
print(f"kubernetes: {len(objects)} objects; settings, ports, probes, files and times fit the binary")
