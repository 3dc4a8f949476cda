"""The Entra simulator gives MSAL what the real service gives it, in the shapes MSAL understands."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import jwt
import msal
import pytest
import requests
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from sandbox import tokens
from sandbox.certificates import make_authority
from sandbox.entra import EntraSimulator
from sandbox.entra.seeds import ADMIN, SYSTEM_IDENTITY, WORKER, WORKER_SECRET
from sandbox.web import InProcess, make_server

ORG = "https://org.crm.dynamics.com"
SCOPE = [f"{ORG}/.default"]
AUTHORITY = f"https://login.sandbox.example/{tokens.TENANT}"


@pytest.fixture
def entra() -> EntraSimulator:
    """Return a fresh simulator."""
    return EntraSimulator()


@pytest.fixture
def http(entra: EntraSimulator) -> Iterator[requests.Session]:
    """Yield a session on which every https address is the simulator."""
    with requests.Session() as session:
        session.mount("https://", InProcess(entra))
        yield session


def worker(
    http: requests.Session, credential: object = WORKER_SECRET, client_id: str = WORKER
) -> msal.ConfidentialClientApplication:
    """Return the worker as MSAL sees it."""
    return msal.ConfidentialClientApplication(
        client_id, client_credential=credential, authority=AUTHORITY, instance_discovery=False, http_client=http
    )


def installer(http: requests.Session) -> msal.PublicClientApplication:
    """Return what the installer signs people in with."""
    return msal.PublicClientApplication(ADMIN, authority=AUTHORITY, instance_discovery=False, http_client=http)


def browser_flow(app: msal.PublicClientApplication, redirect_uri: str = "http://localhost:8400") -> dict[str, Any]:
    """Begin a browser sign-in in the only response mode that MSAL's own receiver still takes."""
    flow: dict[str, Any] = app.initiate_auth_code_flow(SCOPE, redirect_uri=redirect_uri, response_mode="form_post")
    return flow


def posted(page: requests.Response) -> dict[str, str]:
    """Return what the page would post back to the application."""
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text)}


def once(app: msal.PublicClientApplication, flow: dict[str, Any]) -> dict[str, Any]:
    """Ask for the token of a device sign-in a single time, without waiting for the person."""
    answer: dict[str, Any] = app.acquire_token_by_device_flow(flow | {"expires_at": 0})
    return answer


def do(http: requests.Session, action: str, **words: object) -> Any:
    """Use the control panel."""
    return http.post(f"https://login.sandbox.example/__sandbox__/do/{action}", json=words).json()["result"]


def test_a_secret_gives_a_token_for_the_environment(http: requests.Session, entra: EntraSimulator) -> None:
    """The worker's ordinary way in: two requests, then MSAL's own cache."""
    app = worker(http)
    answer = app.acquire_token_for_client(SCOPE)
    again = app.acquire_token_for_client(SCOPE)

    claims = tokens.read(answer["access_token"], ORG + "/", entra.clock.time())
    assert (claims["appid"], claims["oid"]) == (WORKER, tokens.object_id(WORKER))
    assert again["access_token"] == answer["access_token"]
    assert [call.path.rsplit("/", 1)[-1] for call in entra.calls] == ["openid-configuration", "token"]


def test_msal_reaches_the_simulator_over_tls(tmp_path: Path, entra: EntraSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same over a real socket, with nothing but the sandbox's authority trusted."""
    made = make_authority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made.authority))
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    server = make_server(entra, 0, str(made.server), str(made.key))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    authority = f"https://127.0.0.1:{server.port}/{tokens.TENANT}"
    try:
        with requests.Session() as session:
            app = msal.ConfidentialClientApplication(
                WORKER, client_credential=WORKER_SECRET, authority=authority, instance_discovery=False, http_client=session
            )
            answer = app.acquire_token_for_client(["https://127.0.0.1:8443/.default"])
    finally:
        server.shutdown()
        server.server_close()

    assert tokens.read(answer["access_token"], "https://127.0.0.1:8443", entra.clock.time())["appid"] == WORKER


def test_a_wrong_secret_is_refused_as_entra_refuses_it(http: requests.Session) -> None:
    """The number tells an administrator what is wrong."""
    answer = worker(http, "wrong").acquire_token_for_client(SCOPE)

    assert answer["error"] == "invalid_client"
    assert answer["error_codes"] == [7000215]
    assert answer["error_description"].startswith("AADSTS7000215: Invalid client secret provided.")
    assert "wrong" not in json.dumps(answer)


def test_both_secrets_are_good_during_a_rotation(http: requests.Session) -> None:
    """A second secret can be made before the first is taken away."""
    do(http, "register", client_id=WORKER, secret="second")

    assert "access_token" in worker(http).acquire_token_for_client(SCOPE)
    assert "access_token" in worker(http, "second").acquire_token_for_client(SCOPE)

    do(http, "remove_secret", client_id=WORKER, secret=WORKER_SECRET)
    assert worker(http).acquire_token_for_client(SCOPE)["error_codes"] == [7000215]


def test_an_unknown_application_is_refused(http: requests.Session) -> None:
    """An application of another tenant, or a mistyped id."""
    answer = worker(http, client_id="00000000-0000-0000-0000-00000000dead").acquire_token_for_client(SCOPE)

    assert (answer["error"], answer["error_codes"]) == ("unauthorized_client", [700016])


def test_an_unknown_tenant_has_no_configuration(http: requests.Session) -> None:
    """MSAL says so when it is constructed."""
    do(http, "settings", tenants=["another"])

    with pytest.raises(ValueError, match="tenant"):
        worker(http)


def test_an_unknown_resource_is_refused(http: requests.Session) -> None:
    """A mistyped environment address."""
    do(http, "settings", resources=["https://other.crm.dynamics.com"])

    assert worker(http).acquire_token_for_client(SCOPE)["error_codes"] == [500011]


def test_an_application_must_ask_for_the_default_scope(http: requests.Session) -> None:
    """Client credentials know no single permissions."""
    assert worker(http).acquire_token_for_client([f"{ORG}/user_impersonation"])["error_codes"] == [1002012]


def test_a_certificate_gives_a_token(http: requests.Session, entra: EntraSimulator) -> None:
    """MSAL signs an assertion with the certificate's key."""
    made = trustme.CA().issue_cert("worker.sandbox.example", key_type=trustme.KeyType.RSA)
    pem = made.cert_chain_pems[0].bytes()
    thumbprint = x509.load_pem_x509_certificate(pem).fingerprint(SHA256()).hex()
    credential = {
        "private_key": made.private_key_pem.bytes().decode(),
        "thumbprint": thumbprint,
        "public_certificate": pem.decode(),
    }
    answer = worker(http, credential).acquire_token_for_client(SCOPE)

    assert tokens.read(answer["access_token"], ORG, entra.clock.time())["appid"] == WORKER


@pytest.mark.parametrize(("subject", "life", "number"), [("another", 60, 700021), (WORKER, -60, 700024)])
def test_an_assertion_of_another_application_or_time_is_refused(
    http: requests.Session, entra: EntraSimulator, subject: str, life: int, number: int
) -> None:
    """An assertion is looked at, if loosely."""
    claims = {"sub": subject, "exp": int(entra.clock.time()) + life}
    assertion = jwt.encode(claims, "any-key-will-do-for-this-simulator", "HS256")

    assert worker(http, {"client_assertion": lambda: assertion}).acquire_token_for_client(SCOPE)["error_codes"] == [number]


def test_nonsense_is_no_assertion(http: requests.Session) -> None:
    """A text that is no JWT."""
    assert worker(http, {"client_assertion": lambda: "nonsense"}).acquire_token_for_client(SCOPE)["error_codes"] == [50027]


def test_a_managed_identity_gets_a_token(http: requests.Session, entra: EntraSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function app in Azure needs no secret at all."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", "https://login.sandbox.example/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "sandbox-identity-header")
    system = msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity(), http_client=http)
    assigned = msal.ManagedIdentityClient(msal.UserAssignedManagedIdentity(client_id=WORKER), http_client=http)

    now = entra.clock.time()
    assert tokens.read(system.acquire_token_for_client(resource=ORG)["access_token"], ORG, now)["appid"] == SYSTEM_IDENTITY
    assert tokens.read(assigned.acquire_token_for_client(resource=ORG)["access_token"], ORG, now)["appid"] == WORKER


def test_an_unknown_identity_or_header_gets_no_token(http: requests.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """MSAL hands on the status and the sentence."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", "https://login.sandbox.example/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "sandbox-identity-header")
    unknown = msal.ManagedIdentityClient(msal.UserAssignedManagedIdentity(client_id="unknown"), http_client=http)
    assert "No User Assigned" in unknown.acquire_token_for_client(resource=ORG)["error_description"]

    monkeypatch.setenv("IDENTITY_HEADER", "another")
    system = msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity(), http_client=http)
    assert "401" in system.acquire_token_for_client(resource=ORG)["error_description"]


def test_a_managed_identity_serves_as_the_applications_credential(
    http: requests.Session, entra: EntraSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Federated credential: the identity's token is the application's assertion."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", "https://login.sandbox.example/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "sandbox-identity-header")
    identity = msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity(), http_client=http)

    def assertion() -> str:
        token: str = identity.acquire_token_for_client(resource="api://AzureADTokenExchange")["access_token"]
        return token

    answer = worker(http, {"client_assertion": assertion}).acquire_token_for_client(SCOPE)
    assert tokens.read(answer["access_token"], ORG, entra.clock.time())["appid"] == WORKER


def test_a_forged_federated_token_is_refused(http: requests.Session, entra: EntraSimulator) -> None:
    """Somebody else's signature under the right audience."""
    claims = {"aud": "api://AzureADTokenExchange", "appid": "x", "exp": int(entra.clock.time()) + 60}
    forged = jwt.encode(claims, "somebody-elses-key-somebody-elses-key", "HS256")

    assert worker(http, {"client_assertion": lambda: forged}).acquire_token_for_client(SCOPE)["error_codes"] == [50027]


def test_a_person_signs_in_by_device_code(http: requests.Session, entra: EntraSimulator) -> None:
    """The installer's way in on a machine without a browser; later tokens come from the refresh token."""
    app = installer(http)
    flow = app.initiate_device_flow(scopes=[f"{ORG}/user_impersonation"])
    answer = app.acquire_token_by_device_flow(flow)

    claims = tokens.read(answer["access_token"], ORG, entra.clock.time())
    assert (claims["appid"], claims["scp"]) == (ADMIN, "user_impersonation")
    assert claims["oid"] != tokens.object_id(ADMIN)
    assert "devicelogin" in flow["message"]

    (account,) = app.get_accounts()
    renewed = app.acquire_token_silent([f"{ORG}/user_impersonation"], account, force_refresh=True)
    assert renewed["access_token"] != answer["access_token"]


def test_a_device_code_waits_for_the_persons_decision(http: requests.Session) -> None:
    """Pending, approved on the page, and good only once."""
    do(http, "settings", automatic=False, device_interval=1)
    app = installer(http)
    flow = app.initiate_device_flow(scopes=SCOPE)
    assert once(app, flow)["error"] == "authorization_pending"

    page = http.post(flow["verification_uri"], data={"user_code": flow["user_code"], "decision": "allow"})
    assert "approved" in page.text
    assert "access_token" in once(app, flow)
    assert once(app, flow)["error"] == "bad_verification_code"


def test_a_declined_or_late_device_code_gives_nothing(http: requests.Session, entra: EntraSimulator) -> None:
    """The person said no, or nobody came."""
    do(http, "settings", automatic=False, device_interval=1)
    app = installer(http)
    declined = app.initiate_device_flow(scopes=SCOPE)
    assert do(http, "decline", user_code=declined["user_code"]) == 1
    assert once(app, declined)["error"] == "authorization_declined"

    late = app.initiate_device_flow(scopes=SCOPE)
    entra.clock.advance(901)
    assert once(app, late)["error"] == "expired_token"


def test_a_person_signs_in_by_browser(http: requests.Session, entra: EntraSimulator) -> None:
    """Authorization code with PKCE, through the page a person sees."""
    do(http, "settings", automatic=False)
    app = installer(http)
    flow = browser_flow(app)
    page = http.get(flow["auth_uri"])
    assert "Sandbox Administrator" in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]

    back = http.post(flow["auth_uri"], data={"decision": "allow"})
    assert 'action="http://localhost:8400"' in back.text
    answer = app.acquire_token_by_auth_code_flow(flow, posted(back))
    assert tokens.read(answer["access_token"], ORG, entra.clock.time())["appid"] == ADMIN


def test_a_person_who_cancels_in_the_browser_gives_nothing(http: requests.Session) -> None:
    """MSAL hears of the refusal in the same way."""
    do(http, "settings", automatic=False)
    app = installer(http)
    flow = browser_flow(app)
    back = http.post(flow["auth_uri"], data={"decision": "cancel"})

    assert app.acquire_token_by_auth_code_flow(flow, posted(back))["error"] == "access_denied"


def test_the_code_may_also_come_back_in_the_address(http: requests.Session) -> None:
    """Other clients than MSAL use the default response mode."""
    query = f"client_id={ADMIN}&response_type=code&redirect_uri=http%3A%2F%2Flocalhost%3A8400%2Fback%3Fa%3D1&state=s&scope=openid"
    back = http.get(f"{AUTHORITY}/oauth2/v2.0/authorize?{query}", allow_redirects=False).headers["Location"]

    assert back.startswith("http://localhost:8400/back?a=1&code=")
    assert back.endswith("&state=s")


def test_a_code_without_its_verifier_is_worthless(http: requests.Session) -> None:
    """What PKCE is for."""
    app = installer(http)
    flow = browser_flow(app)
    sent = posted(http.get(flow["auth_uri"]))

    assert app.acquire_token_by_auth_code_flow(flow | {"code_verifier": "x" * 43}, sent)["error_codes"] == [501481]


def test_nobody_is_sent_away_from_this_machine(http: requests.Session) -> None:
    """The sign-in page is no open redirect."""
    flow = browser_flow(installer(http), "https://elsewhere.example")

    assert http.get(flow["auth_uri"], allow_redirects=False).status_code == 400


def test_a_confidential_application_signs_nobody_in_without_its_secret(http: requests.Session) -> None:
    """The worker is not a public client."""
    app = msal.PublicClientApplication(WORKER, authority=AUTHORITY, instance_discovery=False, http_client=http)
    flow = app.initiate_device_flow(scopes=SCOPE)

    assert once(app, flow)["error_codes"] == [7000218]


def test_tokens_live_as_long_as_the_control_panel_says(http: requests.Session, entra: EntraSimulator) -> None:
    """So that a token can run out in the middle of a job."""
    do(http, "settings", token_seconds=30)
    answer = worker(http).acquire_token_for_client(SCOPE)
    assert answer["expires_in"] == 30

    entra.clock.advance(31)
    with pytest.raises(tokens.ExpiredToken):
        tokens.read(answer["access_token"], ORG, entra.clock.time())


@pytest.mark.parametrize(
    ("form", "number"),
    [
        ({}, 90014),
        ({"grant_type": "password", "client_id": WORKER}, 70003),
        ({"grant_type": "client_credentials", "client_id": WORKER, "scope": SCOPE[0]}, 7000218),
    ],
)
def test_an_incomplete_request_is_refused(http: requests.Session, form: dict[str, str], number: int) -> None:
    """The token endpoint names what is missing."""
    answer = http.post(f"{AUTHORITY}/oauth2/v2.0/token", data=form)

    assert answer.status_code in (400, 401)
    assert answer.json()["error_codes"] == [number]


def test_a_token_for_another_resource_does_not_read() -> None:
    """Audiences are compared, trailing slashes are not."""
    token = tokens.issue(appid=WORKER, audience=ORG + "/", now=1000)

    assert tokens.read(token, ORG, 1001)["tid"] == tokens.TENANT
    with pytest.raises(tokens.InvalidToken, match="was issued for"):
        tokens.read(token, "https://other.crm.dynamics.com", 1001)
    with pytest.raises(tokens.InvalidToken, match="not a token"):
        tokens.read(token + "x", ORG, 1001)


def test_the_simulator_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    """The command prints its address as one JSON line."""
    made = make_authority(tmp_path)
    command = [sys.executable, "-m", "sandbox.entra", "--certificate", str(made.server), "--key", str(made.key)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        try:
            assert process.stdout
            ready = json.loads(process.stdout.readline())
        finally:
            process.terminate()

    assert ready["ready"] == "entra"
    assert ready["url"].startswith("https://127.0.0.1:")
