#!/usr/bin/env python3
"""Dockerfile, compose.yaml and the Helm chart, looked at without a container runtime or a cluster.

    tests/deploy/charts.py PGVEIL [-v]

hadolint reads the Dockerfile. Helm's own library lints and renders the chart in several forms; every object is held against the schema
of the oldest and of the newest Kubernetes at hand, and against what the chart promises. The configurations that come out, that of
compose.yaml included, are read by the program itself. Ends with a count; exit code 1 if anything failed.
"""
import copy
import os
import pathlib
import subprocess
import sys
import tempfile

import helm_python as helm
import kubernetes_validate
from kubernetes_validate import utils
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/pgveil"
PGVEIL = sys.argv[1]
SECRETS = {"PGVEIL_CATALOG_PASSWORD": "secret", "PGVEIL_STATE": "postgres://pgveil@state.example.com/pgveil?sslmode=require"}
CERTIFICATE = """openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -days 2 -keyout {0}.key -out {0}.crt"""
results = {"passed": 0, "failed": 0}


def check(what, good, told=""):
    results["passed" if good else "failed"] += 1
    if not good or "-v" in sys.argv:
        print("%s: %s%s" % ("ok" if good else "FAILED", what, "" if good else "\n    " + str(told)[:2000]))


def refused(what, word, values):
    try:
        render(values)
    except helm.HelmError as error:
        return check(what, word in str(error), error)
    check(what, False, "it rendered")


def render(values, name="crm"):
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(chart.merge_values(values))
        files = chart.render(values, name=name, namespace="data")
    documents = [doc for path, text in files.items() if path.endswith(".yaml") for doc in yaml.safe_load_all(text) if doc]
    return documents


def of(documents, kind, suffix=""):
    found = [doc for doc in documents if doc["kind"] == kind and doc["metadata"]["name"].endswith(suffix)]
    return found[0] if found else None


def read_by_pgveil(what, text, policies, paths):
    """The program reads a configuration whose folders lie elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for old, new in paths.items():
            text = text.replace(old, str(folder / new) if new else str(folder))
        for sub in ("policies", "tls", "upstream"):
            (folder / sub).mkdir(exist_ok=True)
        subprocess.run(CERTIFICATE.format(folder / "tls/tls").split(), check=True, capture_output=True)
        for name in ("server.crt", "server.key"):
            (folder / "tls" / name).write_text((folder / "tls" / name.replace("server", "tls")).read_text())
        (folder / "upstream/ca.crt").write_text((folder / "tls/tls.crt").read_text())
        for name, policy in policies.items():
            (folder / "policies" / name).write_text(policy)
        (folder / "pgveil.yaml").write_text(text)
        ran = subprocess.run([PGVEIL, "check", "--offline", "--config", folder / "pgveil.yaml"], env={**os.environ, **SECRETS}, capture_output=True, text=True)
        check(what, ran.returncode == 0, ran.stdout + ran.stderr)


def dockerfile():
    ran = subprocess.run([pathlib.Path(sys.executable).parent / "hadolint", "--failure-threshold", "style", ROOT / "deploy/Dockerfile"], capture_output=True, text=True)
    check("hadolint has no word against the Dockerfile", ran.returncode == 0, ran.stdout + ran.stderr)
    lines = [line for line in (ROOT / "deploy/Dockerfile").read_text().splitlines() if not line.startswith("#")]
    last = lines[max(n for n, line in enumerate(lines) if line.startswith("FROM")):]
    check("the image's user is not root", "USER 65532:65532" in last)
    check("its last stage runs no command: it has no shell", not any(line.startswith("RUN") for line in last))
    check("its health check needs none either", any('CMD ["/usr/bin/pgveil", "health"' in line for line in last))


def compose():
    text = (ROOT / "deploy/compose.yaml").read_text()
    document = yaml.safe_load(text)
    services = document["services"]
    for name, service in services.items():
        image = service["image"]
        check("%s: its image is one of a kind" % name, image == "pgveil" or ":" in image.rsplit("/", 1)[-1] and not image.endswith(":latest"), image)
        for network in service.get("networks", []):
            check("%s: network %s is there" % (name, network), network in document["networks"])
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            there = (ROOT / "deploy" / source).exists() if source.startswith(".") else source in document["volumes"]
            check("%s: volume %s is there" % (name, source), there)
        for config in service.get("configs", []):
            entry = document["configs"].get(config["source"])
            check("%s: configuration %s is there" % (name, config["source"]), entry is not None and (ROOT / "deploy" / entry["file"]).exists())
        for needed in service.get("depends_on", []):
            check("%s: %s is there" % (name, needed), needed in services)
        for port in service.get("ports", []):
            check("%s: port %s is this machine's alone" % (name, port), port.startswith("127.0.0.1:"))
    proxies = [service for name, service in services.items() if name.startswith("pgveil")]
    check("there are two proxies", len(proxies) == 2)
    for proxy in proxies:
        check("a proxy's file system is read-only, without capabilities", proxy["read_only"] and proxy["cap_drop"] == ["ALL"])
    check("PostgreSQL publishes no port and is on its own network alone", "ports" not in services["postgres"] and services["postgres"]["networks"] == ["database"])
    check("that network leads nowhere", document["networks"]["database"]["internal"] is True)
    others = [name for name, service in services.items() if "database" in service.get("networks", []) and not name.startswith("pgveil")]
    check("nobody else is on it", others == ["postgres"], others)
    policy = (ROOT / "policies/crm.yaml").read_text()
    read_by_pgveil("pgveil reads the configuration of compose.yaml", (ROOT / "deploy/compose/pgveil.yaml").read_text(), {"crm.yaml": policy}, {"/var/lib/pgveil": "var"})
    targets = (ROOT / "deploy/compose/prometheus.yaml").read_text()
    check("Prometheus scrapes both", all(name + ":9432" in targets for name in services if name.startswith("pgveil")))


SINK = {"config": {"audit": {"sinks": {"soc": {"type": "syslog", "address": "logs.example.com:6514", "tls": True}}}}}
EVERYTHING = {
    **copy.deepcopy(SINK),
    "autoscaling": {"enabled": True},
    "audit": {"storageClass": "fast"},
    "networkPolicy": {
        "clients": [{"podSelector": {"matchLabels": {"app": "crm"}}}],
        "postgres": {"podLabels": {"app": "postgres"}, "also": [{"podSelector": {"matchLabels": {"app": "backup"}}}]},
        "egress": [{"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "ports": [{"port": 6514}]}],
    },
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True},
    "imagePullSecrets": [{"name": "registry"}],
    "image": {"tag": "@sha256:" + "0" * 64},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "pgveil", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "pgveil"}}}]}},
    "podAnnotations": {"a": "b"},
    "service": {"annotations": {"c": "d"}},
}
BARE = {**copy.deepcopy(SINK), "networkPolicy": {"enabled": False}, "podDisruptionBudget": {"enabled": False}, "secretFolders": [], "policiesConfigMap": "own", "config": {**SINK["config"], "upstream": {"ca": None}}}


def chart():
    versions = [version for version in utils.all_versions() if tuple(map(int, version.split(".")[:2])) >= (1, 25)]
    for name, values in (("as it comes", SINK), ("with everything", EVERYTHING), ("with nothing", BARE)):
        report = helm.lint(CHART, values, strict=True)
        bad = [message for message in report["messages"] if message["severity"] >= 2]
        check("helm lint has no word against the chart %s" % name, not bad and not report["errors"], report)
        documents = render(values)
        for document in documents:
            if document["apiVersion"].startswith("monitoring.coreos.com"):
                continue
            for version in (versions[0], versions[-1]):
                what = "%s %s is one of Kubernetes %s (%s)" % (document["kind"], document["metadata"]["name"], version, name)
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                    check(what, True)
                except Exception as error:
                    check(what, False, error)
        pod = of(documents, "Deployment")["spec"]["template"]["spec"]
        container = pod["containers"][0]
        check("it runs as no root, reads its file system and has no capability (%s)" % name,
              pod["securityContext"]["runAsNonRoot"] and container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}})
        check("what it mounts is there (%s)" % name, {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]})
        secret = [variable for variable in container["env"] if "secretKeyRef" not in variable["valueFrom"]]
        check("secrets come by reference (%s)" % name, not secret and of(documents, "Secret") is None)
        config = of(documents, "ConfigMap")["data"]["pgveil.yaml"]
        policies = of(documents, "ConfigMap", "-policies")
        read_by_pgveil("pgveil reads the configuration (%s)" % name, config, policies["data"] if policies else {"p.yaml": "version: 1\nroles: { all: { who: [{ db_user: all }], unmasked: true } }\nunmatched: deny\n"}, {"/etc/pgveil": "", "/var/lib/pgveil": "var"})
        labels = of(documents, "Deployment")["spec"]["template"]["metadata"]["labels"]
        for document in documents:
            selector = document.get("spec", {}).get("selector") or document.get("spec", {}).get("podSelector") or {}
            chosen = selector.get("matchLabels", selector if document["kind"] == "Service" else {})
            if document["kind"] in ("Service", "PodDisruptionBudget", "Deployment") or document["metadata"]["name"] == "crm-pgveil" and document["kind"] == "NetworkPolicy":
                check("%s chooses the pods (%s)" % (document["kind"], name), chosen and chosen.items() <= labels.items(), chosen)
    full = render(EVERYTHING)
    around = of(full, "NetworkPolicy", "-postgres")["spec"]
    own = {"app.kubernetes.io/name": "pgveil", "app.kubernetes.io/instance": "crm"}
    check("PostgreSQL takes connections from pgveil and its replicas, and from whom the values name",
          around["podSelector"] == {"matchLabels": {"app": "postgres"}} and around["policyTypes"] == ["Ingress"]
          and around["ingress"] == [
              {"from": [{"podSelector": {"matchLabels": own}}, {"podSelector": {"matchLabels": {"app": "postgres"}}}], "ports": [{"port": 5432}]},
              {"from": [{"podSelector": {"matchLabels": {"app": "backup"}}}]},
          ], around)
    scaler = of(full, "HorizontalPodAutoscaler")["spec"]
    check("it scales by sessions", scaler["metrics"][0]["pods"]["metric"]["name"] == "pgveil_sessions" and scaler["scaleTargetRef"]["name"] == of(full, "Deployment")["metadata"]["name"])
    check("and the number of replicas is the scaler's then", "replicas" not in of(full, "Deployment")["spec"])
    monitor = of(full, "ServiceMonitor")["spec"]
    admin = of(full, "Service", "-admin")
    check("the ServiceMonitor finds the admin Service", monitor["selector"]["matchLabels"].items() <= admin["metadata"]["labels"].items() and monitor["endpoints"][0]["port"] == admin["spec"]["ports"][0]["name"])
    rules = of(full, "PrometheusRule")["spec"]["groups"]
    expected = [group for name in ("recording.yaml", "alerts.yaml") for group in yaml.safe_load((ROOT / "deploy/prometheus" / name).read_text())["groups"]]
    check("the PrometheusRule is deploy/prometheus", rules == expected)
    grace = of(full, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    check("pods get longer than the drain takes", grace >= 45)
    refused("a chart whose record would go with the pod is refused", "audit.sinks", {})
    check("unless that is said to be meant", bool(render({"audit": {"ephemeral": True}})))
    refused("a key that the chart sets itself is refused in config", "listen", {**SINK, "config": {**SINK["config"], "listen": "127.0.0.1:1"}})
    refused("a value that does not exist is refused", "replica", {**SINK, "replica": 3})


dockerfile()
compose()
chart()
print("%d passed, %d failed" % (results["passed"], results["failed"]))
sys.exit(1 if results["failed"] else 0)
