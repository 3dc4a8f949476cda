"""What the product adds to Dataverse, piece by piece: choices, tables, columns and roles, with every text in English and German.

Names and choice values come from `shared/dataverse/schema.py`; here they get types, lengths, labels and descriptions.
How a definition becomes the Web API's JSON is in `metadata.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

from shared.dataverse.schema import (
    AUDIENCE_TABLE,
    SEGMENT_TABLES,
    SIGN_IN_TABLE,
    Audience,
    Command,
    Origin,
    Result,
    SignIn,
    SignInCommand,
    SignInStatus,
    Status,
)
from solution.texts import Text

type Kind = Literal["text", "address", "memo", "whole", "decimal", "moment", "flag", "choice", "lookup", "file"]

PUBLISHER_NAME = "LinkedIn Matched Audiences"
SOLUTION_TITLE = Text("LinkedIn Matched Audiences", "LinkedIn Matched Audiences")
SOLUTION_ABOUT = (
    "Sends the members of a segment, hashed, to a LinkedIn Matched Audience and shows the result on the segment. "
    "Everything in here was made by the installer and is taken out by it."
)
LARGEST_WHOLE = 2_147_483_647


@dataclass(frozen=True)
class Choice:
    """A global choice; `options` gives the text of every value."""

    name: str
    title: Text
    about: Text
    options: Mapping[IntEnum, Text]


@dataclass(frozen=True)
class Column:
    """A column. `length` counts characters (text), `most` bounds a number, `choice` and `target` say what it points at."""

    schema_name: str
    kind: Kind
    title: Text
    about: Text
    length: int = 0
    most: int = 0
    choice: str = ""
    target: str = ""
    required: bool = False

    @property
    def name(self) -> str:
        """The logical name: the schema name in lower case, as Dataverse makes it."""
        return self.schema_name.lower()


@dataclass(frozen=True)
class Table:
    """A table of our own; the first column is the one that names a row."""

    schema_name: str
    title: Text
    plural: Text
    about: Text
    columns: tuple[Column, ...]

    @property
    def name(self) -> str:
        """The logical name."""
        return self.schema_name.lower()


@dataclass(frozen=True)
class Role:
    """A security role. `grants` says per table how far each verb reaches; a table that does not exist is passed over."""

    name: str
    about: str
    grants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


# ------------------------------------------------------------------ choices

STATUS_TEXTS: dict[IntEnum, Text] = {
    Status.REQUESTED: Text("Requested", "Angefordert"),
    Status.CHECKING: Text("Checking", "Wird geprüft"),
    Status.WAITING_FOR_SIGN_IN: Text("Waiting for sign-in", "Wartet auf Anmeldung"),
    Status.WAITING_FOR_AD_ACCOUNT: Text("Waiting for ad account", "Wartet auf Werbekonto"),
    Status.READY_TO_CREATE: Text("Ready to create", "Bereit zum Erstellen"),
    Status.UPLOADING: Text("Uploading", "Wird hochgeladen"),
    Status.BUILDING: Text("Building at LinkedIn", "Wird bei LinkedIn aufgebaut"),
    Status.READY: Text("Ready", "Bereit"),
    Status.TOO_SMALL: Text("Too small", "Zu klein"),
    Status.NOT_ALLOWED: Text("Not allowed", "Nicht zulässig"),
    Status.FAILED: Text("Failed", "Fehlgeschlagen"),
    Status.CANCELLED: Text("Cancelled", "Abgebrochen"),
    Status.ARCHIVED: Text("Archived", "Archiviert"),
    Status.EXPIRED: Text("Expired", "Abgelaufen"),
}

CHOICES = (
    Choice(
        "lima_audiencestatus",
        Text("LinkedIn audience status", "Status der LinkedIn-Zielgruppe"),
        Text("Where the work for an audience stands.", "Wie weit die Arbeit für eine Zielgruppe ist."),
        STATUS_TEXTS,
    ),
    Choice(
        "lima_command",
        Text("LinkedIn audience command", "Befehl für LinkedIn-Zielgruppe"),
        Text("What is asked of an audience.", "Was mit einer Zielgruppe geschehen soll."),
        {
            Command.CHECK: Text("Check", "Prüfen"),
            Command.CREATE: Text("Create", "Erstellen"),
            Command.CANCEL: Text("Cancel", "Abbrechen"),
            Command.RETRY: Text("Retry", "Wiederholen"),
        },
    ),
    Choice(
        "lima_origin",
        Text("LinkedIn audience origin", "Herkunft der LinkedIn-Zielgruppe"),
        Text("Who asked for an audience.", "Wer eine Zielgruppe angefordert hat."),
        {
            Origin.PERSON: Text("Person", "Person"),
            Origin.AUTOMATION: Text("Automation", "Automatisierung"),
            Origin.WENT_LIVE: Text("Segment went live", "Segment wurde live geschaltet"),
        },
    ),
    Choice(
        "lima_signinstatus",
        Text("LinkedIn sign-in status", "Status der LinkedIn-Anmeldung"),
        Text("Where a user's LinkedIn sign-in stands.", "Wie es um die LinkedIn-Anmeldung eines Benutzers steht."),
        {
            SignInStatus.NOT_SIGNED_IN: Text("Not signed in", "Nicht angemeldet"),
            SignInStatus.WAITING: Text("Waiting", "Wartet"),
            SignInStatus.SIGNED_IN: Text("Signed in", "Angemeldet"),
            SignInStatus.EXPIRES_SOON: Text("Expires soon", "Läuft bald ab"),
            SignInStatus.EXPIRED: Text("Expired", "Abgelaufen"),
            SignInStatus.REFUSED: Text("Refused", "Abgelehnt"),
        },
    ),
    Choice(
        "lima_signincommand",
        Text("LinkedIn sign-in command", "Befehl für LinkedIn-Anmeldung"),
        Text("What is asked of a LinkedIn sign-in.", "Was mit einer LinkedIn-Anmeldung geschehen soll."),
        {
            SignInCommand.CONNECT: Text("Connect", "Verbinden"),
            SignInCommand.DISCONNECT: Text("Disconnect", "Trennen"),
            SignInCommand.REFRESH_ACCOUNTS: Text("Refresh ad accounts", "Werbekonten aktualisieren"),
        },
    ),
)


# ------------------------------------------------------------------ columns


def _text(schema_name: str, length: int, title: Text, about: Text, *, required: bool = False) -> Column:
    return Column(schema_name, "text", title, about, length=length, required=required)


def _address(schema_name: str, length: int, title: Text, about: Text) -> Column:
    return Column(schema_name, "address", title, about, length=length)


def _memo(schema_name: str, length: int, title: Text, about: Text) -> Column:
    return Column(schema_name, "memo", title, about, length=length)


def _count(schema_name: str, title: Text, about: Text, most: int = LARGEST_WHOLE) -> Column:
    return Column(schema_name, "whole", title, about, most=most)


def _rate(schema_name: str, title: Text, about: Text) -> Column:
    return Column(schema_name, "decimal", title, about, most=100)


def _moment(schema_name: str, title: Text, about: Text) -> Column:
    return Column(schema_name, "moment", title, about)


def _flag(schema_name: str, title: Text, about: Text) -> Column:
    return Column(schema_name, "flag", title, about)


def _choice(schema_name: str, choice: str, title: Text, about: Text) -> Column:
    return Column(schema_name, "choice", title, about, choice=choice)


def _user(schema_name: str, title: Text, about: Text) -> Column:
    return Column(schema_name, "lookup", title, about, target="systemuser")


AUDIENCE_COLUMNS = (
    _text("lima_Name", 200, Text("Name", "Name"), Text("The audience's name at LinkedIn.", "Name der Zielgruppe bei LinkedIn.")),
    _text(
        "lima_SegmentTable",
        64,
        Text("Segment table", "Segmenttabelle"),
        Text("Logical name of the segment's table.", "Logischer Name der Tabelle des Segments."),
        required=True,
    ),
    _text(
        "lima_SegmentId",
        64,
        Text("Segment id", "Segment-ID"),
        Text("Id of the segment record.", "ID des Segmentdatensatzes."),
        required=True,
    ),
    _text("lima_SegmentName", 200, Text("Segment", "Segment"), Text("The segment's name.", "Name des Segments.")),
    _choice(
        "lima_Status",
        "lima_audiencestatus",
        Text("Status", "Status"),
        Text("Where the work stands.", "Wie weit die Arbeit ist."),
    ),
    _memo(
        "lima_StatusMessage",
        4000,
        Text("Status message", "Statusmeldung"),
        Text("What happened and what to do next.", "Was geschehen ist und was als Nächstes zu tun ist."),
    ),
    _choice(
        "lima_Command",
        "lima_command",
        Text("Command", "Befehl"),
        Text("What is asked; empty once it was taken.", "Was geschehen soll; leer, sobald es übernommen wurde."),
    ),
    _text(
        "lima_CommandId",
        100,
        Text("Command id", "Befehls-ID"),
        Text("A new value for each command.", "Ein neuer Wert für jeden Befehl."),
    ),
    _choice("lima_Origin", "lima_origin", Text("Origin", "Herkunft"), Text("Who asked for it.", "Wer sie angefordert hat.")),
    _flag(
        "lima_SmallConfirmed",
        Text("Small audience confirmed", "Kleine Zielgruppe bestätigt"),
        Text(
            "A person said yes although LinkedIn does not serve an audience this small.",
            "Eine Person hat zugestimmt, obwohl LinkedIn an eine so kleine Zielgruppe nicht ausliefert.",
        ),
    ),
    _count("lima_Progress", Text("Progress", "Fortschritt"), Text("Per cent done.", "Erledigt in Prozent."), most=100),
    _user(
        "lima_SignInUser",
        Text("Sign-in of", "Anmeldung von"),
        Text(
            "Whose LinkedIn sign-in is used; empty: the owner's.",
            "Wessen LinkedIn-Anmeldung verwendet wird; leer: die des Besitzers.",
        ),
    ),
    _text(
        "lima_AdAccount", 100, Text("Ad account", "Werbekonto"), Text("LinkedIn's name (URN) of it.", "LinkedIns Kennung (URN).")
    ),
    _text(
        "lima_AdAccountName",
        200,
        Text("Ad account name", "Name des Werbekontos"),
        Text("As Campaign Manager shows it.", "Wie der Campaign Manager ihn zeigt."),
    ),
    _text(
        "lima_LinkedInAudienceId",
        100,
        Text("LinkedIn audience id", "LinkedIn-Zielgruppen-ID"),
        Text("The audience's id at LinkedIn.", "ID der Zielgruppe bei LinkedIn."),
    ),
    _text(
        "lima_AdSegment",
        200,
        Text("LinkedIn ad segment", "LinkedIn-Anzeigensegment"),
        Text("What campaigns refer to (URN).", "Worauf sich Kampagnen beziehen (URN)."),
    ),
    _count("lima_Members", Text("Members", "Mitglieder"), Text("Members of the segment.", "Mitglieder des Segments.")),
    _count(
        "lima_NoEmail",
        Text("Without email", "Ohne E-Mail"),
        Text("Members without an email address.", "Mitglieder ohne E-Mail-Adresse."),
    ),
    _count(
        "lima_Invalid",
        Text("Invalid email", "Ungültige E-Mail"),
        Text("Members whose email address is none.", "Mitglieder, deren E-Mail-Adresse keine ist."),
    ),
    _count(
        "lima_Duplicate",
        Text("Duplicates", "Duplikate"),
        Text("Members with an address that was counted before.", "Mitglieder mit einer bereits gezählten Adresse."),
    ),
    _count(
        "lima_OptedOut",
        Text("Opted out", "Abgemeldet"),
        Text("Members who do not want marketing.", "Mitglieder, die keine Werbung wünschen."),
    ),
    _count("lima_Inactive", Text("Inactive", "Inaktiv"), Text("Members that are inactive.", "Inaktive Mitglieder.")),
    _count(
        "lima_Eligible",
        Text("Eligible", "Verwendbar"),
        Text("Different addresses that can be sent.", "Verschiedene Adressen, die gesendet werden können."),
    ),
    _count("lima_Sent", Text("Sent", "Gesendet"), Text("Hashes that LinkedIn took.", "Hashwerte, die LinkedIn angenommen hat.")),
    _count(
        "lima_Refused",
        Text("Refused by LinkedIn", "Von LinkedIn abgelehnt"),
        Text("Hashes that LinkedIn did not take.", "Hashwerte, die LinkedIn nicht angenommen hat."),
    ),
    _count(
        "lima_Matched",
        Text("Matched", "Zugeordnet"),
        Text("Members that LinkedIn recognised.", "Mitglieder, die LinkedIn wiedererkannt hat."),
    ),
    _count(
        "lima_AudienceSize",
        Text("Audience size", "Zielgruppengröße"),
        Text("As LinkedIn reports it.", "Wie LinkedIn sie meldet."),
    ),
    _rate("lima_MatchRate", Text("Match rate", "Trefferquote"), Text("Per cent of what was sent.", "Prozent des Gesendeten.")),
    _moment("lima_Started", Text("Started", "Begonnen"), Text("When the work began.", "Beginn der Arbeit.")),
    _moment("lima_Finished", Text("Finished", "Beendet"), Text("When the work ended.", "Ende der Arbeit.")),
    _address(
        "lima_Link",
        500,
        Text("Campaign Manager", "Campaign Manager"),
        Text("Opens the audience in Campaign Manager.", "Öffnet die Zielgruppe im Campaign Manager."),
    ),
    _text(
        "lima_CorrelationId",
        100,
        Text("Correlation id", "Korrelations-ID"),
        Text("Finds this run in the logs.", "Findet diesen Lauf in den Protokollen."),
    ),
    Column(
        "lima_LeftOut",
        "file",
        Text("Left out", "Ausgelassen"),
        Text("Record ids of members left out, with the reason.", "Datensatz-IDs der ausgelassenen Mitglieder mit Grund."),
        most=131_072,
    ),
)

SIGN_IN_COLUMNS = (
    _text("lima_Name", 200, Text("Name", "Name"), Text("Whose sign-in this is.", "Wessen Anmeldung dies ist.")),
    _choice(
        "lima_Status",
        "lima_signinstatus",
        Text("Status", "Status"),
        Text("Whether the sign-in can be used.", "Ob die Anmeldung verwendet werden kann."),
    ),
    _memo(
        "lima_StatusMessage",
        4000,
        Text("Status message", "Statusmeldung"),
        Text("What happened and what to do next.", "Was geschehen ist und was als Nächstes zu tun ist."),
    ),
    _text(
        "lima_LinkedInName",
        200,
        Text("LinkedIn name", "LinkedIn-Name"),
        Text("The name of the LinkedIn member who signed in.", "Name des angemeldeten LinkedIn-Mitglieds."),
    ),
    _moment("lima_ExpiresOn", Text("Expires on", "Läuft ab am"), Text("When to sign in again.", "Wann neu anzumelden ist.")),
    _address(
        "lima_Address",
        2000,
        Text("Sign-in address", "Anmeldeadresse"),
        Text("Opens LinkedIn's sign-in, once.", "Öffnet die Anmeldung bei LinkedIn, einmal."),
    ),
    _moment(
        "lima_AddressExpiresOn",
        Text("Address expires on", "Adresse läuft ab am"),
        Text("Until when the address works.", "Bis wann die Adresse gilt."),
    ),
    _memo(
        "lima_AdAccounts",
        1_048_576,
        Text("Ad accounts", "Werbekonten"),
        Text("The ad accounts offered, as JSON.", "Die angebotenen Werbekonten, als JSON."),
    ),
    _choice(
        "lima_Command",
        "lima_signincommand",
        Text("Command", "Befehl"),
        Text("What is asked; empty once it was taken.", "Was geschehen soll; leer, sobald es übernommen wurde."),
    ),
    _text(
        "lima_CommandId",
        100,
        Text("Command id", "Befehls-ID"),
        Text("A new value for each command.", "Ein neuer Wert für jeden Befehl."),
    ),
)

RESULT_COLUMNS = (
    _choice(
        "lima_LinkedInStatus",
        "lima_audiencestatus",
        Text("LinkedIn status", "LinkedIn-Status"),
        Text("Status of the newest LinkedIn audience.", "Status der neuesten LinkedIn-Zielgruppe."),
    ),
    _memo(
        "lima_LinkedInMessage",
        4000,
        Text("LinkedIn message", "LinkedIn-Meldung"),
        Text("What happened and what to do next.", "Was geschehen ist und was als Nächstes zu tun ist."),
    ),
    _text(
        "lima_LinkedInAudienceId",
        100,
        Text("LinkedIn audience id", "LinkedIn-Zielgruppen-ID"),
        Text("The audience's id at LinkedIn.", "ID der Zielgruppe bei LinkedIn."),
    ),
    _count(
        "lima_LinkedInSent",
        Text("Members sent to LinkedIn", "An LinkedIn gesendete Mitglieder"),
        Text("Hashes that LinkedIn took.", "Hashwerte, die LinkedIn angenommen hat."),
    ),
    _count(
        "lima_LinkedInSize",
        Text("LinkedIn audience size", "Größe der LinkedIn-Zielgruppe"),
        Text("As LinkedIn reports it.", "Wie LinkedIn sie meldet."),
    ),
    _rate(
        "lima_LinkedInMatchRate",
        Text("LinkedIn match rate", "LinkedIn-Trefferquote"),
        Text("Per cent of what was sent.", "Prozent des Gesendeten."),
    ),
    _moment(
        "lima_LinkedInTime",
        Text("LinkedIn result of", "LinkedIn-Ergebnis vom"),
        Text("When this result was written.", "Wann dieses Ergebnis geschrieben wurde."),
    ),
    _address(
        "lima_LinkedInLink",
        500,
        Text("LinkedIn Campaign Manager", "LinkedIn Campaign Manager"),
        Text("Opens the audience in Campaign Manager.", "Öffnet die Zielgruppe im Campaign Manager."),
    ),
    _flag(
        "lima_CreateWhenLive",
        Text("LinkedIn audience when this goes live", "LinkedIn-Zielgruppe beim Live-Schalten"),
        Text("Creates an audience as soon as the segment goes live.", "Erstellt eine Zielgruppe, sobald das Segment live geht."),
    ),
    _text(
        "lima_LiveAdAccount",
        100,
        Text("Ad account when live", "Werbekonto beim Live-Schalten"),
        Text("The ad account to use then (URN).", "Das dann zu verwendende Werbekonto (URN)."),
    ),
    _text(
        "lima_LiveAdAccountName",
        200,
        Text("Ad account name when live", "Name des Werbekontos beim Live-Schalten"),
        Text("As Campaign Manager shows it.", "Wie der Campaign Manager ihn zeigt."),
    ),
    _user(
        "lima_LiveSetBy",
        Text("Set by", "Eingestellt von"),
        Text("Whose LinkedIn sign-in is used then.", "Wessen LinkedIn-Anmeldung dann verwendet wird."),
    ),
)

AUDIENCE = Table(
    "lima_Audience",
    Text("LinkedIn audience", "LinkedIn-Zielgruppe"),
    Text("LinkedIn audiences", "LinkedIn-Zielgruppen"),
    Text("One row for each time an audience is asked for.", "Eine Zeile für jede angeforderte Zielgruppe."),
    AUDIENCE_COLUMNS,
)
SIGN_IN = Table(
    "lima_SignIn",
    Text("LinkedIn sign-in", "LinkedIn-Anmeldung"),
    Text("LinkedIn sign-ins", "LinkedIn-Anmeldungen"),
    Text("What a user sees of their own LinkedIn sign-in.", "Was ein Benutzer von seiner eigenen LinkedIn-Anmeldung sieht."),
    SIGN_IN_COLUMNS,
)
TABLES = (AUDIENCE, SIGN_IN)

NAMES = {AUDIENCE_TABLE: tuple(Audience), SIGN_IN_TABLE: tuple(SignIn), "result": tuple(Result)}
"""Every column name that the worker knows, by table; a test compares them with the definitions above."""


# ------------------------------------------------------------------ roles

_READ: Mapping[str, str] = {"Read": "Global"}

MARKETER = Role(
    "LinkedIn Audience Marketer",
    "Ask for LinkedIn audiences, follow them, and sign in to LinkedIn. Give it to marketers beside their usual roles.",
    {
        # Colleagues see each other's audiences of a segment; a sign-in is its owner's alone, because whoever can read a
        # sign-in address could attach another LinkedIn account to it.
        AUDIENCE_TABLE: {
            "Create": "Basic",
            "Read": "Deep",
            "Write": "Basic",
            "Append": "Basic",
            "AppendTo": "Basic",
        },
        SIGN_IN_TABLE: dict.fromkeys(("Create", "Read", "Write", "Append", "AppendTo"), "Basic"),
        "systemuser": {"Read": "Local", "AppendTo": "Local"},
    },
)
WORKER = Role(
    "LinkedIn Audience Worker",
    "What the LinkedIn Matched Audiences app does in Dataverse, and nothing else. Give it to its application user only.",
    {
        # Exactly what is used: a test takes each away in turn. Assign, because a row that going live makes belongs to the
        # person who asked for it (Learn, data operations and access rights: it needs Assign, Write and Read).
        AUDIENCE_TABLE: dict.fromkeys(("Create", "Read", "Write", "Assign"), "Global"),
        SIGN_IN_TABLE: dict.fromkeys(("Read", "Write"), "Global"),
        **{table: {"Read": "Global", "Write": "Global"} for table in SEGMENT_TABLES},
        "contact": _READ,
        "lead": _READ,
        "msdynmkt_contactpointconsent4": _READ,
    },
)
ROLES = (MARKETER, WORKER)

# Tables whose privileges do not end with the table's schema name (Microsoft Learn, security role privileges).
PRIVILEGE_NAMES = {"systemuser": "User"}
