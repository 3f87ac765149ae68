"""The manifests: each document against Kubernetes' own schema, and against each other.

Kinds of operators (ServiceMonitor, FlinkDeployment) have no schema here: of them only the parts
that are Kubernetes' own, as pod templates, are checked.
"""

import copy
import os
import shutil

import pytest
import yaml

from kubeflow.deployment import OBJECT_STORE_KEYS
from tests.conftest import ROOT
from tests.kubeflow.go_programs import go_program
from tests.kubeflow.kubernetes_schemas import Kubeconform, shipped_versions

FOLDER = ROOT / "kubeflow" / "manifests"
FILES = sorted(file.name for file in FOLDER.glob("*.yaml") if file.name != "kustomization.yaml")
OPERATORS = {"ServiceMonitor", "FlinkDeployment"}
KUBECONFORM = "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0"
NEWEST = shipped_versions()[-1]


def documents(file: str) -> list[dict]:
    return list(yaml.safe_load_all((FOLDER / file).read_text()))


ALL = [document for file in FILES for document in documents(file)]


def named(kind: str, name: str = "") -> dict:
    """The document of a kind; of several the server's unless another is named."""
    found = {one["metadata"]["name"]: one for one in ALL if one["kind"] == kind}
    return found[name or ("gatefold-server" if "gatefold-server" in found else next(iter(found)))]


def pod_specs() -> dict[str, dict]:
    return {
        "server": named("Deployment")["spec"]["template"]["spec"],
        "drift": named("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"],
    }


def server_containers() -> dict[str, dict]:
    return {container["name"]: container for container in pod_specs()["server"]["containers"]}


def test_kustomize_takes_every_file():
    (kustomization,) = documents("kustomization.yaml")
    assert sorted(kustomization["resources"]) == ["../../serving/proxy", *FILES]
    proxy = FOLDER / "../../serving/proxy"
    (base,) = yaml.safe_load_all((proxy / "kustomization.yaml").read_text())
    (config_map,) = base["configMapGenerator"]
    assert all((proxy / file).is_file() for file in config_map["files"])
    volumes = {volume["name"]: volume for volume in pod_specs()["server"]["volumes"]}
    assert volumes["proxy"]["configMap"]["name"] == config_map["name"]


@pytest.fixture(scope="module")
def kubeconform(tmp_path_factory) -> Kubeconform:
    if not os.environ.get("CI") and not shutil.which("go"):
        pytest.skip("Go builds kubeconform: install Go 1.24 or newer (https://go.dev/dl)")
    return Kubeconform(go_program(KUBECONFORM), tmp_path_factory.mktemp("schemas"))


@pytest.mark.parametrize("version", [shipped_versions()[0], NEWEST])
def test_every_document_fits_kubernetes_schema(kubeconform, version):
    assert kubeconform.errors(ALL, version=version, skipped=OPERATORS) == []


def test_the_flink_cluster_starts_a_job_again_that_lost_a_task_manager():
    settings = named("FlinkDeployment")["spec"]["flinkConfiguration"]
    assert settings["restart-strategy"] == "fixed-delay"
    assert int(settings["restart-strategy.fixed-delay.attempts"]) > 1


def test_the_flink_cluster_has_python_workers_beside_its_task_managers(kubeconform):
    template = named("FlinkDeployment")["spec"]["taskManager"]["podTemplate"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "workers"}, **template}
    assert kubeconform.errors([pod], version=NEWEST) == []
    names = [container["name"] for container in template["spec"]["containers"]]
    assert names == ["flink-main-container", "python-workers"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"replica": 2}, "replica"),
        ({"replicas": "two"}, "replicas"),
        ({"template": {"spec": {"containers": [{"image": "no name"}]}}}, "name"),
    ],
)
def test_the_schema_refuses_what_kubernetes_refuses(kubeconform, wrong, said):
    document = copy.deepcopy(named("Deployment"))
    document["spec"].update(wrong)
    (line,) = kubeconform.errors([document], version=NEWEST)
    assert line.startswith("Deployment gatefold-server: ") and said in line


def test_selectors_find_what_they_are_about():
    labels = named("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        named("Deployment")["spec"]["selector"]["matchLabels"],
        named("Service")["spec"]["selector"],
        named("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels for selector in selectors)
    of_service = named("ServiceMonitor")["spec"]["selector"]["matchLabels"]
    assert of_service.items() <= named("Service")["metadata"]["labels"].items()
    target = named("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (
        "Deployment",
        named("Deployment")["metadata"]["name"],
    )


def test_the_job_server_is_found_where_the_runs_are_told_to_look():
    from kubeflow import options

    labels = named("Deployment", "gatefold-job-server")["spec"]["template"]["metadata"]["labels"]
    service = named("Service", "gatefold-job-server")
    assert service["spec"]["selector"] == labels
    (kustomization,) = documents("kustomization.yaml")
    address = f"{service['metadata']['name']}.{kustomization['namespace']}:8099"
    assert f"--job-endpoint {address}" in (FOLDER / "flink.yaml").read_text()
    command = [
        *("compile", "--image", "i", "--pipeline-root", "s3://b/r", "--data", "s3://b/d"),
        *("--beam-runner", "flink", "--job-endpoint", address),
        *("--beam-worker-pool", "localhost:50000"),
    ]
    config, _ = options.compile_settings(options.parse(command))
    arguments = config.beam.pipeline_args()
    assert f"--job_endpoint={address}" in arguments
    assert "--environment_config=localhost:50000" in arguments


def test_ports_have_names_that_exist():
    containers = pod_specs()["server"]["containers"]
    ports = {port["name"] for container in containers for port in container["ports"]}
    services = {port["name"]: port for port in named("Service")["spec"]["ports"]}
    used = {port["targetPort"] for port in services.values()}
    rules = named("NetworkPolicy", "gatefold-server")["spec"]["ingress"]
    used |= {port["port"] for rule in rules for port in rule["ports"]}
    assert used <= ports
    scraped = {endpoint["port"] for endpoint in named("ServiceMonitor")["spec"]["endpoints"]}
    assert scraped <= services.keys()


def test_callers_reach_the_server_through_the_proxy():
    proxy = server_containers()["proxy"]
    behind = {port["name"] for port in proxy["ports"]}
    rules = named("NetworkPolicy", "gatefold-server")["spec"]["ingress"]
    callers = next(rule for rule in rules if "gatefold/client" in str(rule))
    assert {port["port"] for port in callers["ports"]} == behind
    configured = (FOLDER / "../../serving/proxy/nginx.conf").read_text()
    for port in proxy["ports"]:
        assert f"listen {port['containerPort']}" in configured


def test_the_server_takes_its_arguments_and_has_the_metrics():
    """The command line of the manifest, given to the server's own parser."""
    from serving.server import cli

    container = server_containers()["server"]
    releases = named("ConfigMap")["data"]["RELEASES"]
    arguments = [one.replace("$(RELEASES)", releases) for one in container["args"]]
    parsed = cli.build_parser().parse_args(arguments)
    assert (parsed.model_base_path, parsed.host) == (releases, "0.0.0.0")
    (metric,) = named("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert (
        metric["pods"]["metric"]["name"] in (ROOT / "serving" / "server" / "metrics.py").read_text()
    )


def test_the_monitor_takes_its_arguments_and_reads_what_the_servers_write():
    from serving import monitor
    from serving.server import cli

    (job,) = pod_specs()["drift"]["containers"]
    server = server_containers()["server"]
    releases = named("ConfigMap")["data"]["RELEASES"]
    arguments = [one.replace("$(RELEASES)", releases) for one in job["args"]]
    parsed = monitor.build_parser().parse_args(arguments)
    written = cli.build_parser().parse_args(server["args"])
    assert parsed.base == releases and parsed.samples == written.sample_folder
    assert parsed.page.parent == parsed.json.parent == parsed.samples, "nothing else is kept"
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for pod in pod_specs().values()
        for volume in pod["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claims == {named("PersistentVolumeClaim")["metadata"]["name"]}


@pytest.mark.parametrize("name", ["server", "drift"])
def test_pods_keep_to_the_restricted_standard(name):
    pod = pod_specs()[name]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    for container in pod["containers"]:
        security = container["securityContext"]
        assert not security["allowPrivilegeEscalation"] and security["readOnlyRootFilesystem"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        if container["image"] == "gatefold":
            assert {"secretRef": {"name": "gatefold-object-store"}} in container["envFrom"]


def test_no_secret_is_in_a_file_and_its_keys_are_those_of_the_runs():
    assert "Secret" not in {document["kind"] for document in ALL}
    text = (FOLDER / "config.yaml").read_text()
    assert all(key in text for key in OBJECT_STORE_KEYS)
