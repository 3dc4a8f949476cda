"""Who and what is at LinkedIn from the start: an application, two people, their ad accounts and roles."""

from sandbox.linkedin.oauth import App, OAuth
from sandbox.linkedin.state import AdAccount, Person, State

CLIENT_ID = "sandbox-linkedin-app"
CLIENT_SECRET = "sandbox-linkedin-secret"
SCOPES = ["r_ads", "rw_ads", "r_ads_reporting", "rw_dmp_segments", "r_basicprofile", "openid", "profile", "email"]

ADA = Person("ada", "Ada", "Sample")
BEN = Person("ben", "Ben", "Sample")

EUROPE = AdAccount(512345678, "Contoso Europe")
NORDICS = AdAccount(512345679, "Contoso Nordics", type="ENTERPRISE", currency="SEK")
CAREERS = AdAccount(512345680, "Contoso Careers")
READ_ONLY = AdAccount(512345681, "Fabrikam, for reading only", currency="USD")
CANCELED = AdAccount(512345682, "Contoso, closed in 2024", status="CANCELED")
TEST = AdAccount(512345683, "Contoso, test account", test=True)
NORTHWIND = AdAccount(512345690, "Northwind Traders", currency="GBP")

_ROLES = {
    ADA.id: {
        EUROPE: "ACCOUNT_MANAGER",
        NORDICS: "CAMPAIGN_MANAGER",
        CAREERS: "CREATIVE_MANAGER",
        READ_ONLY: "VIEWER",
        CANCELED: "ACCOUNT_BILLING_ADMIN",
        TEST: "ACCOUNT_MANAGER",
    },
    BEN.id: {NORTHWIND: "ACCOUNT_BILLING_ADMIN", CAREERS: "VIEWER"},
}


def seed(oauth: OAuth, state: State, client_id: str = CLIENT_ID, client_secret: str = CLIENT_SECRET) -> None:
    """Fill an empty simulator."""
    oauth.apps[client_id] = App(client_id, client_secret, list(SCOPES))
    state.people = {person.id: person for person in (ADA, BEN)}
    for person, roles in _ROLES.items():
        for account, role in roles.items():
            state.accounts[account.id] = account
            state.roles[person, account.id] = role


def give_many_accounts(state: State, person: str, count: int) -> None:
    """Give a person this many further ACTIVE ad accounts, all with a role that may write."""
    for number in range(count):
        account = AdAccount(600_000_000 + number, f"Account {number + 1:03d}")
        state.accounts[account.id] = account
        state.roles[person, account.id] = "CAMPAIGN_MANAGER"
