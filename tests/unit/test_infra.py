"""What is deployed to Azure agrees with the code: names, roles, versions, secrets, queries, workflows."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pathspec
import pytest
from pycep import BicepParser
from ruamel.yaml import YAML

from function_app import app
from function_app.job_steps import QUEUE as TRIGGER_QUEUE
from shared.settings import NAMES, Settings
from shared.storage.address import read_address
from shared.storage.doorbells import TABLE as DOORBELLS
from shared.storage.files import CONTAINER
from shared.storage.jobs import TABLE as JOBS
from shared.storage.queue import QUEUE
from shared.storage.sealing import Sealer
from shared.storage.signins import TABLE as SIGNINS
from shared.storage.tickets import TABLE as TICKETS

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
BICEP = sorted(INFRA.rglob("*.bicep"))
QUERIES = sorted((INFRA / "queries").glob("*.kql"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# Azure built-in roles, https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
ROLES = {
    "storageBlobDataOwner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "storageQueueDataContributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "storageTableDataContributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "keyVaultSecretsUser": "4633458b-17de-408a-b874-0445c86b69e6",
    "keyVaultSecretsOfficer": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    "monitoringMetricsPublisher": "3913510d-42f4-4e42-8a64-420c390055eb",
}
HOSTS_OWN = {"UPKEEP_SCHEDULE", "TIDY_SCHEDULE"}  # read by the Functions host, not by the product
# Flex Consumption refuses or ignores these (Learn: App settings reference, Flex Consumption plan deprecations).
NOT_ON_FLEX = {
    "ENABLE_ORYX_BUILD",
    "FUNCTIONS_EXTENSION_VERSION",
    "FUNCTIONS_WORKER_PROCESS_COUNT",
    "FUNCTIONS_WORKER_RUNTIME",
    "SCM_DO_BUILD_DURING_DEPLOYMENT",
    "WEBSITE_RUN_FROM_PACKAGE",
}


@cache
def parsed(path: Path) -> dict[str, Any]:
    """Return what a Bicep file says."""
    return dict(BicepParser().parse(file_path=path))


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file."""
    return YAML(typ="safe").load(path)


def resource(path: str, kind: str) -> dict[str, Any]:
    """Return the configuration of the one resource of a kind in a file."""
    found = [one for one in parsed(INFRA / path)["resources"].values() if one["type"] == kind and not one["existing"]]
    assert len(found) == 1, f"{path} has {len(found)} of {kind}"
    return dict(found[0]["config"])


def variable(path: str, name: str) -> Any:
    """Return the value of a variable of a file."""
    return parsed(INFRA / path)["variables"][name]["value"]


def conditional(value: Any) -> dict[str, Any]:
    """Return what a variable holds when it is asked for; the parser nests a comparison around or inside the choice."""
    operands = value["operator"]["operands"]
    nested = next((one for one in operands.values() if isinstance(one, dict) and "operator" in one), None)
    return dict(operands["true_value"]) if "true_value" in operands else conditional(nested)


def product_settings() -> dict[str, Any]:
    """Return every setting of the product that the app can get."""
    always = dict(variable("app/function.bicep", "productSettings"))
    return always | conditional(variable("app/function.bicep", "dataverseSecret"))


# ------------------------------------------------------------------ Bicep by itself


@pytest.mark.parametrize("path", BICEP, ids=lambda path: str(path.relative_to(INFRA)))
def test_every_bicep_file_can_be_read_and_explains_its_parameters(path: Path) -> None:
    """A parameter nobody understands is left at its default, right or wrong; one that is not used is a lie."""
    read = parsed(path)
    text = path.read_text(encoding="utf-8")

    for name, parameter in read.get("parameters", {}).items():
        assert [one for one in parameter["decorators"] if one["type"] == "description"], f"{name} is not described"
        assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{name} is not used"


def test_every_module_gets_exactly_the_parameters_it_has() -> None:
    """The compiler would say so, but it runs only in the workflow."""
    main = parsed(INFRA / "main.bicep")

    for name, module in main["modules"].items():
        wanted = parsed(INFRA / module["detail"]["path"]).get("parameters", {})
        assert set(module["config"]["params"]) == set(wanted), f"module {name}"


def test_every_output_that_is_used_exists() -> None:
    """A misspelt output fails only after minutes of deployment."""
    main = parsed(INFRA / "main.bicep")
    text = (INFRA / "main.bicep").read_text(encoding="utf-8")

    used = set(re.findall(r"\b(\w+)\.outputs\.(\w+)", text))
    assert used
    for module, output in used:
        assert output in parsed(INFRA / main["modules"][module]["detail"]["path"])["outputs"], f"{module}.outputs.{output}"


def test_parameters_and_their_file_agree() -> None:
    """What azd passes is the file; a parameter that is not in it could not be changed there."""
    declared = parsed(INFRA / "main.bicep")["parameters"]
    passed = json.loads((INFRA / "main.parameters.json").read_text(encoding="utf-8"))["parameters"]

    assert set(passed) == set(declared)
    for name, parameter in declared.items():
        given, default = passed[name]["value"], parameter["default"]
        if default is None:
            assert re.fullmatch(r"\$\{[A-Z_]+\}", given), f"{name} is required, so azd has to ask for it"
        elif isinstance(given, str) and given.startswith("${"):
            assert given.rstrip("}").partition("=")[2] == str(default).replace("False", "false"), name
        else:
            assert given == default, name


def test_no_module_comes_from_a_registry() -> None:
    """Everything that is made can be read here."""
    assert {module["type"] for module in parsed(INFRA / "main.bicep")["modules"].values()} == {"local"}


# ------------------------------------------------------------------ Bicep and the code


def test_the_app_gets_known_settings_and_all_that_are_required() -> None:
    """A misspelt name would be ignored without a word, a missing one would keep the app from working."""
    known = {setting.name for setting in NAMES.values()} | HOSTS_OWN
    required = {setting.name for setting in NAMES.values() if setting.default is None} | HOSTS_OWN

    given = set(product_settings())
    assert given <= known
    assert required <= set(variable("app/function.bicep", "productSettings"))
    assert {"DATAVERSE_TENANT_ID", "DATAVERSE_CLIENT_ID", "DATAVERSE_CLIENT_SECRET"} <= given


def test_settings_that_an_administrator_adds_are_known() -> None:
    """The parameter `settings` takes any name, so what stands in the file is checked."""
    passed = json.loads((INFRA / "main.parameters.json").read_text(encoding="utf-8"))["parameters"]["settings"]["value"]

    assert set(passed) <= {setting.name for setting in NAMES.values()} | {"PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY"}


def test_defaults_in_bicep_are_those_of_the_code() -> None:
    """Two defaults for one thing would make a deployment differ from its documentation."""
    declared = parsed(INFRA / "main.bicep")["parameters"]
    defaults = {setting.name: setting.read(setting.default) for setting in NAMES.values() if setting.default}
    sample = json.loads((ROOT / "local.settings.sample.json").read_text(encoding="utf-8"))["Values"]

    assert declared["linkedInVersion"]["default"] == defaults["LINKEDIN_VERSION"]
    assert declared["retentionDays"]["default"] == defaults["RETENTION_DAYS"]
    assert declared["upkeepSchedule"]["default"] == sample["UPKEEP_SCHEDULE"]
    assert declared["tidySchedule"]["default"] == sample["TIDY_SCHEDULE"]


def test_the_storage_settings_are_those_that_the_app_reads() -> None:
    """Host and app read the same settings; the identity form has no secret."""
    given = {name: str(value) for name, value in variable("app/function.bicep", "hostSettings").items()}
    env = {name: f"https://account.{name[21:25]}.example/" if name.endswith("Uri") else text for name, text in given.items()}

    address = read_address(env)

    assert address.connection_string == ""
    assert all((address.blob_url, address.queue_url, address.table_url, address.client_id))


def test_secrets_are_references_to_the_vault_that_operate_fills() -> None:
    """No secret stands in a setting, and no reference leads nowhere."""
    operate = load_operate()
    secret = {"WEBHOOK_SECRET", "WEBHOOK_SECRET_PREVIOUS", "LINKEDIN_CLIENT_SECRET", "SIGNIN_KEYS", "DATAVERSE_CLIENT_SECRET"}

    given = product_settings()
    leads_to = [
        re.fullmatch(r"@Microsoft\.KeyVault\(VaultName=\$\{vaultName\};SecretName=([a-z-]+)\)", given[name]) for name in secret
    ]
    names = {found[1] for found in leads_to if found}
    assert names == {operate.LINKEDIN, operate.WEBHOOK, operate.WEBHOOK_BEFORE, operate.SIGNIN, operate.DATAVERSE}


def test_nothing_is_set_that_flex_consumption_refuses_or_that_doubles_the_log() -> None:
    """Both telemetry switches on would write each line twice (azure-functions-python-worker, issue 1342)."""
    given = set(product_settings()) | set(variable("app/function.bicep", "hostSettings"))

    assert not given & NOT_ON_FLEX
    assert not {name for name in given if name.startswith("PYTHON_")}


def test_queues_tables_and_containers_are_those_of_the_code() -> None:
    """What is made in advance under another name would only confuse."""
    assert TRIGGER_QUEUE == QUEUE
    assert variable("app/storage.bicep", "queueNames") == [QUEUE, f"{QUEUE}-poison"]
    assert set(variable("app/storage.bicep", "tableNames")) == {JOBS, DOORBELLS, SIGNINS, TICKETS}
    assert variable("app/storage.bicep", "membersContainer") == CONTAINER


def test_roles_are_the_least_and_their_ids_are_right() -> None:
    """A wrong id gives another role, a wide one gives more than is used."""
    written = {
        "storageBlobDataOwner": variable("app/storage.bicep", "roles")["storageBlobDataOwner"],
        "storageQueueDataContributor": variable("app/storage.bicep", "roles")["storageQueueDataContributor"],
        "storageTableDataContributor": variable("app/storage.bicep", "roles")["storageTableDataContributor"],
        "keyVaultSecretsUser": variable("app/vault.bicep", "keyVaultSecretsUser"),
        "keyVaultSecretsOfficer": variable("app/vault.bicep", "keyVaultSecretsOfficer"),
        "monitoringMetricsPublisher": variable("app/monitoring.bicep", "monitoringMetricsPublisher"),
    }
    ids = {found for path in BICEP for found in re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", path.read_text())}

    assert written == ROLES
    assert ids == set(ROLES.values())


def test_the_runtime_is_the_python_that_is_tested() -> None:
    """Another minor version would run other wheels than the tests did."""
    version = (ROOT / ".python-version").read_text(encoding="utf-8").strip()
    runtime = resource("app/function.bicep", "Microsoft.Web/sites")["properties"]["functionAppConfig"]["runtime"]

    assert runtime == {"name": "python", "version": version}


def test_doors_are_closed_that_nobody_uses() -> None:
    """HTTPS only, TLS 1.2, no shared keys, no FTP, no passwords, no public blobs, a vault that cannot be emptied."""
    site = resource("app/function.bicep", "Microsoft.Web/sites")["properties"]
    storage = resource("app/storage.bicep", "Microsoft.Storage/storageAccounts")["properties"]
    vault = resource("app/vault.bicep", "Microsoft.KeyVault/vaults")["properties"]
    passwords = resource("app/function.bicep", "Microsoft.Web/sites/basicPublishingCredentialsPolicies")

    assert site["httpsOnly"] is True
    assert site["siteConfig"] == {"ftpsState": "Disabled", "minTlsVersion": "1.2", "scmMinTlsVersion": "1.2"}
    assert passwords["loop_type"]["detail"]["array_name"] == ["ftp", "scm"]
    assert passwords["config"]["properties"] == {"allow": False}
    assert (storage["allowSharedKeyAccess"], storage["allowBlobPublicAccess"]) == (False, False)
    assert (storage["minimumTlsVersion"], storage["supportsHttpsTrafficOnly"]) == ("TLS1_2", True)
    assert (vault["enableRbacAuthorization"], vault["enablePurgeProtection"]) == (True, True)
    insights = resource("app/monitoring.bicep", "Microsoft.Insights/components")["properties"]
    assert insights["DisableLocalAuth"] is True


def test_deleted_members_stay_deleted() -> None:
    """Undeleting would keep hashes longer than the privacy page says; the rule deletes even while the app is stopped."""
    blobs = resource("app/storage.bicep", "Microsoft.Storage/storageAccounts/blobServices")["properties"]
    rule = resource("app/storage.bicep", "Microsoft.Storage/storageAccounts/managementPolicies")["properties"]["policy"]["rules"][
        0
    ]

    assert blobs["deleteRetentionPolicy"] == {"enabled": False}
    assert rule["definition"]["filters"]["prefixMatch"] == ["${membersContainer}/"]


# ------------------------------------------------------------------ host.json


def test_the_host_gives_steps_their_time_and_messages_their_tries() -> None:
    """A message must not count as lost while its worker may still be at it."""
    host = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
    queues = host["extensions"]["queues"]
    defaults = {setting.name: setting.read(setting.default) for setting in NAMES.values() if setting.default}

    assert defaults["STEP_SECONDS"] < seconds(host["functionTimeout"]) < defaults["OVERDUE_SECONDS"]
    assert seconds(queues["visibilityTimeout"]) < defaults["OVERDUE_SECONDS"]
    assert queues["messageEncoding"] == "base64"
    assert 3 <= queues["maxDequeueCount"] <= 10
    assert queues["newBatchThreshold"] < queues["batchSize"] <= 32
    assert host["telemetryMode"] == "OpenTelemetry"
    assert "routePrefix" not in host.get("extensions", {}).get("http", {})  # PUBLIC_URL/api/... is registered at LinkedIn


def seconds(written: str) -> int:
    """Return the seconds of hh:mm:ss."""
    hours, minutes, rest = (int(part) for part in written.split(":"))
    return hours * 3600 + minutes * 60 + rest


# ------------------------------------------------------------------ what is deployed


def test_azd_deploys_the_staged_folder_and_nothing_else() -> None:
    """The allow-list is the only thing that decides what ships."""
    read = read_yaml(ROOT / "azure.yaml")
    service = read["services"]["app"]

    assert (service["project"], service["language"], service["host"]) == ("build/stage", "python", "function")
    assert service["remoteBuild"] is True
    for event in ("prepackage", "predeploy"):
        for system in ("posix", "windows"):
            assert "scripts/stage.py" in read["hooks"][event][system]["run"]
    tags = resource("app/function.bicep", "Microsoft.Web/sites")["tags"]["function"]["parameters"].values()
    assert {"'azd-service-name'": "app"} in tags


def test_every_file_that_a_hook_runs_exists_and_knows_its_command() -> None:
    """A hook that fails stops azd half way."""
    hooks = read_yaml(ROOT / "azure.yaml")["hooks"]
    runs = [one["run"] for hook in hooks.values() for one in hook.values()]

    assert runs
    for run in runs:
        for path in re.findall(r"[\w/]+\.py|scripts/find-python", run):
            assert (ROOT / path).is_file(), path
        if command := re.search(r"infra/operate\.py (\w+)", run):
            load_operate()._parser().parse_args([command[1]])


def test_funcignore_lets_through_what_is_staged() -> None:
    """Whoever publishes with func from the root deploys the same files."""
    rules = pathspec.GitIgnoreSpec.from_lines((ROOT / ".funcignore").read_text(encoding="utf-8").splitlines())
    stage = ast.parse((ROOT / "scripts" / "stage.py").read_text(encoding="utf-8"))
    ships = next(
        ast.literal_eval(one.value)
        for one in stage.body
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "SHIPS"
    )
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()

    through = {path for path in tracked if not rules.match_file(path)}
    assert through == {path for path in tracked if path.partition("/")[0] in ships}
    assert rules.match_file("local.settings.json")
    assert rules.match_file("shared/__pycache__/errors.cpython-313.pyc")


# ------------------------------------------------------------------ workflows


def test_workflows_fit_githubs_schema() -> None:
    """A workflow that GitHub cannot read does not run, and nobody is told."""
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_jobs_end_and_actions_are_pinned(path: Path) -> None:
    """A job that hangs costs hours; an action without a version changes under us."""
    workflow = read_yaml(path)

    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert "uses" in job or job["timeout-minutes"] <= 60, name
        for step in job.get("steps", ()):
            assert "uses" not in step or re.search(r"@v\d+$", step["uses"]), step


def test_a_deployment_is_tested_before_and_compared_afterwards() -> None:
    """Zero functions and no error is what a broken deployment looks like."""
    workflow = read_yaml(ROOT / ".github" / "workflows" / "deploy.yml")
    job = workflow["jobs"]["deploy"]
    steps = [step.get("run", step.get("uses", "")) for step in job["steps"]]
    place = {
        word: next(at for at, step in enumerate(steps) if word in step)
        for word in ("stage.py", "azure/login", "functions-action", "verify")
    }

    assert job["needs"] == "test"
    assert job["permissions"]["id-token"] == "write"
    assert place["stage.py"] < place["functions-action"] < place["verify"]
    assert place["azure/login"] < place["functions-action"]
    assert "secrets." not in (ROOT / ".github" / "workflows" / "deploy.yml").read_text(encoding="utf-8")


def test_the_workflow_runs_what_developers_run() -> None:
    """Green there means green here."""
    jobs = read_yaml(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    runs = " ".join(step.get("run", "") for job in jobs.values() for step in job["steps"])

    for command in ("make test", "make check", "make browser-test", "az bicep build"):
        assert command in runs


# ------------------------------------------------------------------ queries over the log


@cache
def log_calls() -> tuple[dict[str, Any], ...]:
    """Return the fields of every log line that the code writes; a field's value is None unless it is written out."""
    paths = [*(ROOT / "shared").rglob("*.py"), *(ROOT / "function_app").rglob("*.py")]
    nodes = (node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    extras = (node.value for node in nodes if isinstance(node, ast.keyword) and node.arg == "extra")
    return tuple(
        {
            ast.literal_eval(key): value.value if isinstance(value, ast.Constant) else None
            for key, value in zip(extra.keys, extra.values, strict=True)
            if key is not None
        }
        for extra in extras
        if isinstance(extra, ast.Dict)
    )


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
def test_queries_ask_for_what_the_code_logs(path: Path) -> None:
    """A query for a line that is never written looks like good news."""
    query = "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("//"))
    actions = {call.get("action") for call in log_calls()}
    logged = {name for call in log_calls() for name in call} | {"message", "level", "logger", "correlation", "error"}
    fields = logged

    assert set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', query)) <= actions
    assert set(re.findall(r'\bline(?:\.|\[")(\w+)', query)) <= fields


def test_the_query_for_failed_jobs_knows_every_error_that_ends_one() -> None:
    """An error class that is missing there would fail jobs without an alert."""
    parents: dict[str, str] = {}
    for path in (ROOT / "shared").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.bases:
                parents[node.name] = ast.unparse(node.bases[0])

    def ends(name: str) -> bool:
        while name in parents and name not in {"NotAllowed", "TooSmall"}:  # these have statuses of their own
            if name == "JobEnds":
                return True
            name = parents[name]
        return False

    written = re.search(r"error in \(([^)]*)\)", (INFRA / "queries" / "failed.kql").read_text(encoding="utf-8"))
    assert written
    assert set(re.findall(r"\w+", written[1])) == {name for name in parents if ends(name)} - {"JobEnds"}


def test_the_workbook_holds_the_queries_of_the_folder() -> None:
    """They are kept twice, because a workbook can be imported by hand; they must not drift apart."""
    workbook = json.loads((INFRA / "workbook.json").read_text(encoding="utf-8"))
    shown = {item["name"]: item["content"]["query"] for item in workbook["items"] if item["type"] == 3}
    files = {path.stem: path.read_text(encoding="utf-8").rstrip("\n") for path in QUERIES}

    assert shown == {name: query for name, query in files.items() if name != "one-job"}  # that one wants an id


def test_every_alert_has_a_query() -> None:
    """Poison messages, failed jobs, a version switched off, an app that cannot be used, sign-ins that end."""
    rules = variable("app/alerts.bicep", "rules")
    loaded = {rule["query"]["function"]["parameters"]["file_path"] for rule in rules}

    assert {Path(path).stem for path in loaded} == {"poisoned", "failed", "version", "not-ready", "sign-ins"}
    assert all((INFRA / "app" / path).resolve().is_file() for path in loaded)


# ------------------------------------------------------------------ operate.py


def load_operate() -> ModuleType:
    """Return infra/operate.py, which is a file and no module of a package."""
    spec = importlib.util.spec_from_file_location("operate_under_test", INFRA / "operate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


operate = load_operate()


class FakeAzure:
    """A vault, a function app and its health page; `refusals` is how often the vault says 403 first."""

    def __init__(self, *, refusals: int = 0, functions: set[str] | None = None, health: int = 200) -> None:
        self.secrets: dict[str, str] = {}
        self.refusals, self.functions, self.health = refusals, functions or set(), health
        self.slept = 0.0
        self.calls: list[tuple[str, str]] = []

    def azure(self) -> Any:
        return operate.Azure(lambda resource: f"token for {resource}", self.send, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.slept += seconds

    def send(self, method: str, address: str, token: str, body: Any) -> Any:
        self.calls.append((method, address))
        if ".vault.azure.net" in address:
            assert token == "token for https://vault.azure.net"
            return self.answer_as_vault(method, address, body)
        if address.endswith("/api/health"):
            assert not token
            return operate.Answer(self.health, {})
        assert token == "token for https://management.azure.com"
        return operate.Answer(200, {"value": [{"name": f"func-x/{name}"} for name in sorted(self.functions)]})

    def answer_as_vault(self, method: str, address: str, body: Any) -> Any:
        if self.refusals:
            self.refusals -= 1
            return operate.Answer(403, {})
        name = address.partition("/secrets")[2].partition("?")[0].strip("/")
        if method == "PUT":
            self.secrets[name] = body["value"]
            return operate.Answer(200, {})
        if not name:
            return operate.Answer(200, {"value": [{"id": f"https://kv-x.vault.azure.net/secrets/{one}"} for one in self.secrets]})
        return operate.Answer(200, {"value": self.secrets[name]}) if name in self.secrets else operate.Answer(404, {})


def vault_of(fake: FakeAzure) -> Any:
    """Return the vault as operate.py sees it."""
    return operate.Vault("kv-x", fake.azure())


def settings_from(secrets: dict[str, str]) -> Settings:
    """Return the app's settings with what the vault holds."""
    return Settings.from_env(
        {
            "DATAVERSE_URL": "https://contoso.crm4.dynamics.example",
            "DATAVERSE_AUTH": "managed-identity",
            "WEBHOOK_SECRET": secrets["webhook-secret"],
            "LINKEDIN_CLIENT_ID": "client",
            "LINKEDIN_CLIENT_SECRET": secrets["linkedin-client-secret"],
            "SIGNIN_KEYS": secrets["signin-keys"],
            "PUBLIC_URL": "https://app.example",
        }
    )


def test_an_empty_vault_is_filled_with_what_the_app_can_read() -> None:
    """Only LinkedIn's secret is asked for; the others are made."""
    fake = FakeAzure()

    made = operate.fill(vault_of(fake), dataverse_by_secret=False, ask=lambda name: f"given {name}")

    assert made == ["linkedin-client-secret", "webhook-secret", "webhook-secret-previous", "signin-keys"]
    assert fake.secrets["webhook-secret-previous"] == fake.secrets["webhook-secret"]
    settings = settings_from(fake.secrets)
    assert settings.linkedin_client_secret == "given linkedin-client-secret"
    assert len(settings.webhook_secret) >= 32
    assert len(settings.signin_keys) == 1


def test_filling_again_changes_nothing() -> None:
    """It is called at every provisioning; a new key would sign everybody out."""
    fake = FakeAzure()
    operate.fill(vault_of(fake), dataverse_by_secret=True, ask=lambda name: name)
    before = dict(fake.secrets)

    assert operate.fill(vault_of(fake), dataverse_by_secret=True, ask=pytest.fail) == []
    assert fake.secrets == before


@pytest.mark.parametrize("status", [0, 200, 401, 429, 500, 503])
def test_a_vault_that_cannot_be_read_does_not_pass_for_an_empty_one(status: int) -> None:
    """Its keys would be replaced, and everybody signed out."""
    fake = FakeAzure()
    operate.fill(vault_of(fake), dataverse_by_secret=False, ask=lambda name: name)
    before = dict(fake.secrets)
    vault = vault_of(fake)
    fake.answer_as_vault = lambda method, *rest: (  # type: ignore[method-assign]
        operate.Answer(status, {}) if method == "GET" else FakeAzure.answer_as_vault(fake, method, *rest)
    )

    with pytest.raises(operate.CannotGoOn, match=f"status {status}"):
        operate.fill(vault, dataverse_by_secret=False, ask=lambda name: name)
    with pytest.raises(operate.CannotGoOn, match=f"status {status}"):
        operate.rotate(vault, "signin-keys", ask=pytest.fail)
    assert fake.secrets == before


def test_a_role_that_is_not_known_yet_is_waited_for() -> None:
    """Right after the first deployment the vault refuses for some minutes."""
    fake = FakeAzure(refusals=4)

    operate.fill(vault_of(fake), dataverse_by_secret=False, ask=lambda name: name)

    assert set(fake.secrets) == {"linkedin-client-secret", "webhook-secret", "webhook-secret-previous", "signin-keys"}
    assert fake.slept == 4 * operate.PAUSE


def test_a_vault_that_goes_on_refusing_is_told_in_a_sentence() -> None:
    """Waiting for ever would look like a hang."""
    fake = FakeAzure(refusals=10_000)

    with pytest.raises(operate.CannotGoOn, match="Key Vault Secrets Officer"):
        operate.fill(vault_of(fake), dataverse_by_secret=False, ask=lambda name: name)


def test_a_new_sign_in_key_goes_in_front_and_the_old_one_still_opens() -> None:
    """Nobody is signed out by changing the key."""
    fake = FakeAzure()
    operate.fill(vault_of(fake), dataverse_by_secret=False, ask=lambda name: name)
    sealed = Sealer(settings_from(fake.secrets).signin_keys).seal(b"token", "user")
    fake.secrets["signin-keys"] = fake.secrets["signin-keys"].replace("k", "before-", 1)  # as if made in another second
    sealed = type(sealed)(sealed.key_id.replace("k", "before-", 1), sealed.content)

    operate.rotate(vault_of(fake), "signin-keys", ask=pytest.fail)

    keys = settings_from(fake.secrets).signin_keys
    assert len(keys) == 2
    assert Sealer(keys).open(sealed, "user") == b"token"
    assert not Sealer(keys).is_current(sealed)


def test_the_former_webhook_secret_is_kept_until_dataverse_has_the_new_one() -> None:
    """Events that are on their way carry the former one."""
    fake = FakeAzure()
    operate.fill(vault_of(fake), dataverse_by_secret=False, ask=lambda name: name)
    former = fake.secrets["webhook-secret"]

    operate.rotate(vault_of(fake), "webhook-secret", ask=pytest.fail)

    assert fake.secrets["webhook-secret-previous"] == former
    assert fake.secrets["webhook-secret"] != former

    operate.retire(vault_of(fake))

    assert fake.secrets["webhook-secret-previous"] == fake.secrets["webhook-secret"] != former


def test_a_changed_secret_reaches_the_app_at_once() -> None:
    """The references are read again, and the process that still has the old values is replaced."""
    fake = FakeAzure()

    operate.refresh_references(fake.azure(), "/subscriptions/x/sites/func-x")

    assert [address.partition("func-x/")[2].partition("?")[0] for method, address in fake.calls if method == "POST"] == [
        "config/configreferences/appsettings/refresh",
        "restart",
    ]


def test_no_secret_is_printed_on_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    """Terminals are recorded and workflows keep their logs."""
    fake = FakeAzure(refusals=1)
    operate.fill(vault_of(fake), dataverse_by_secret=True, ask=lambda name: f"hush {name}")
    said = [
        operate.rotate(vault_of(fake), name, ask=lambda name: f"hush {name}")
        for name in ("signin-keys", "webhook-secret", "linkedin-client-secret")
    ]
    operate.refresh_references(fake.azure(), "/subscriptions/x/sites/func-x")

    shown = capsys.readouterr().out + " ".join(said)
    assert not [secret for secret in fake.secrets.values() if secret in shown]


def test_the_expected_functions_are_those_that_the_app_declares() -> None:
    """Read from the source, so that no package has to be installed to compare."""
    assert operate.expected_functions() == {function.get_function_name() for function in app.get_functions()}


def test_a_deployment_with_all_functions_and_good_health_passes() -> None:
    """That is all the check wants."""
    fake = FakeAzure(functions=operate.expected_functions())

    operate.verify(fake.azure(), "/x", "https://app.example", operate.expected_functions())

    assert fake.slept == 0


@pytest.mark.parametrize(
    ("functions", "health", "sentence"),
    [
        (set(), 200, "no functions at all"),
        ({"health", "job_steps"}, 200, "missing"),
        (None, 503, "503 means that a setting is missing"),
        (None, 0, "answers nothing"),
    ],
)
def test_a_broken_deployment_is_told_in_a_sentence(functions: set[str] | None, health: int, sentence: str) -> None:
    """It is looked at again for five minutes first, because a new deployment needs a while."""
    expected = operate.expected_functions()
    fake = FakeAzure(functions=expected if functions is None else functions, health=health)

    with pytest.raises(operate.CannotGoOn, match=sentence):
        operate.verify(fake.azure(), "/x", "https://app.example", expected)

    assert fake.slept >= 300


def test_without_azd_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stack trace helps nobody."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("LIMA_KEY_VAULT", raising=False)

    assert operate.main(["show", "webhook-secret"]) == 1
    assert "Install it" in capsys.readouterr().err
