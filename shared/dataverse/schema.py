"""Names of our tables, columns, choices and webhook steps in Dataverse: their single source.

The installer turns this into metadata (`solution/definitions.py`), the worker reads and writes by it
(`records.py`), and a test compares the tab's script with it. All names carry the publisher prefix
`lima`. Choice values start at the publisher's option prefix 72700.
"""

from enum import IntEnum, StrEnum

PREFIX = "lima"
OPTION_PREFIX = 72700
SOLUTION = "LinkedInMatchedAudiences"


class Status(IntEnum):
    """Where an audience row stands (global choice `lima_audiencestatus`)."""

    REQUESTED = 727000000
    CHECKING = 727000001
    WAITING_FOR_SIGN_IN = 727000002
    WAITING_FOR_AD_ACCOUNT = 727000003
    READY_TO_CREATE = 727000004
    UPLOADING = 727000005
    BUILDING = 727000006
    READY = 727000007
    TOO_SMALL = 727000008
    NOT_ALLOWED = 727000009
    FAILED = 727000010
    CANCELLED = 727000011
    ARCHIVED = 727000012
    EXPIRED = 727000013


class Command(IntEnum):
    """What a person or an automation asks of an audience row (choice `lima_command`)."""

    CHECK = 727000000
    CREATE = 727000001
    CANCEL = 727000002
    RETRY = 727000003


class Origin(IntEnum):
    """Who asked for the audience (choice `lima_origin`); only a person can say yes to a small audience."""

    PERSON = 727000000
    AUTOMATION = 727000001
    WENT_LIVE = 727000002


class SignInStatus(IntEnum):
    """Where a user's LinkedIn sign-in stands (choice `lima_signinstatus`)."""

    NOT_SIGNED_IN = 727000000
    WAITING = 727000001
    SIGNED_IN = 727000002
    EXPIRES_SOON = 727000003
    EXPIRED = 727000004
    REFUSED = 727000005


class SignInCommand(IntEnum):
    """What a user asks of their own sign-in row (choice `lima_signincommand`)."""

    CONNECT = 727000000
    DISCONNECT = 727000001
    REFRESH_ACCOUNTS = 727000002


class Audience(StrEnum):
    """Columns of the table `lima_audience`, one row per job."""

    ID = "lima_audienceid"
    NAME = "lima_name"  # the audience's name at LinkedIn; empty: the segment's name
    SEGMENT_TABLE = "lima_segmenttable"
    SEGMENT_ID = "lima_segmentid"
    SEGMENT_NAME = "lima_segmentname"
    STATUS = "lima_status"
    MESSAGE = "lima_statusmessage"
    COMMAND = "lima_command"  # cleared by the worker once taken
    COMMAND_ID = "lima_commandid"
    ORIGIN = "lima_origin"
    SMALL_CONFIRMED = "lima_smallconfirmed"  # the second yes below 300
    PROGRESS = "lima_progress"
    SIGN_IN_USER = "lima_signinuser"  # lookup to systemuser; empty: the row's owner
    AD_ACCOUNT = "lima_adaccount"
    AD_ACCOUNT_NAME = "lima_adaccountname"
    AUDIENCE_ID = "lima_linkedinaudienceid"
    AD_SEGMENT = "lima_adsegment"
    MEMBERS = "lima_members"
    NO_EMAIL = "lima_noemail"
    INVALID = "lima_invalid"
    DUPLICATE = "lima_duplicate"
    OPTED_OUT = "lima_optedout"
    INACTIVE = "lima_inactive"
    ELIGIBLE = "lima_eligible"
    SENT = "lima_sent"
    REFUSED = "lima_refused"
    MATCHED = "lima_matched"
    SIZE = "lima_audiencesize"
    MATCH_RATE = "lima_matchrate"  # per cent, two decimals
    STARTED = "lima_started"
    FINISHED = "lima_finished"
    LINK = "lima_link"
    CORRELATION = "lima_correlationid"
    LEFT_OUT = "lima_leftout"  # file column: CSV of contact id and reason


class SignIn(StrEnum):
    """Columns of the table `lima_signin`, one row per Dynamics user, owned by that user."""

    ID = "lima_signinid"
    NAME = "lima_name"
    STATUS = "lima_status"
    MESSAGE = "lima_statusmessage"
    LINKEDIN_NAME = "lima_linkedinname"
    EXPIRES_ON = "lima_expireson"
    ADDRESS = "lima_address"  # one-time sign-in address
    ADDRESS_EXPIRES_ON = "lima_addressexpireson"
    AD_ACCOUNTS = "lima_adaccounts"  # JSON list: urn, name, currency, status, role, usable
    COMMAND = "lima_command"
    COMMAND_ID = "lima_commandid"


class Result(StrEnum):
    """Columns that the product adds to each segment table: the last result, and the going-live mark."""

    STATUS = "lima_linkedinstatus"
    MESSAGE = "lima_linkedinmessage"
    AUDIENCE_ID = "lima_linkedinaudienceid"
    SENT = "lima_linkedinsent"
    SIZE = "lima_linkedinsize"
    MATCH_RATE = "lima_linkedinmatchrate"
    TIME = "lima_linkedintime"
    LINK = "lima_linkedinlink"
    CREATE_WHEN_LIVE = "lima_createwhenlive"
    LIVE_AD_ACCOUNT = "lima_liveadaccount"
    LIVE_AD_ACCOUNT_NAME = "lima_liveadaccountname"
    LIVE_SET_BY = "lima_livesetby"  # lookup to systemuser


AUDIENCE_TABLE = "lima_audience"
AUDIENCE_SET = "lima_audiences"
SIGN_IN_TABLE = "lima_signin"
SIGN_IN_SET = "lima_signins"
# Navigation properties of custom lookups carry the schema name's capitals.
AUDIENCE_SIGN_IN_USER_NAVIGATION = "lima_SignInUser"
LIVE_SET_BY_NAVIGATION = "lima_LiveSetBy"

# table → (entity set, key, name column, column whose change means going live)
SEGMENT_TABLES = {
    "msdynmkt_segmentdefinition": ("msdynmkt_segmentdefinitions", "msdynmkt_segmentdefinitionid", "msdynmkt_name", "statuscode"),
    "msdynmkt_segment": ("msdynmkt_segments", "msdynmkt_segmentid", "msdynmkt_displayname", "statuscode"),
    "list": ("lists", "listid", "listname", "statecode"),
    "msdyncrm_segment": ("msdyncrm_segments", "msdyncrm_segmentid", "msdyncrm_segmentname", "statuscode"),
}

# The webhook's steps: name, table, message, filtering attributes. Steps never stand on Update and UpdateMultiple both,
# because Dataverse merges the two pipelines and would call twice.
WEBHOOK_NAME = "LinkedIn Matched Audiences"
WEBHOOK_HEADER = "x-lima-key"
WEBHOOK_PATH = "/api/dataverse/events"
STEPS = (
    ("LinkedIn Matched Audiences: audience requested", AUDIENCE_TABLE, "Create", ()),
    ("LinkedIn Matched Audiences: audience command", AUDIENCE_TABLE, "Update", (Audience.COMMAND, Audience.COMMAND_ID)),
    ("LinkedIn Matched Audiences: sign-in requested", SIGN_IN_TABLE, "Create", ()),
    ("LinkedIn Matched Audiences: sign-in command", SIGN_IN_TABLE, "Update", (SignIn.COMMAND, SignIn.COMMAND_ID)),
    *(
        (f"LinkedIn Matched Audiences: {table} went live", table, "Update", (live,))
        for table, (_, _, _, live) in SEGMENT_TABLES.items()
    ),
)
