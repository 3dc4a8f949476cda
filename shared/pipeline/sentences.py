"""What the product says to people on the row: every sentence with its next step, in one place.

`docs/operations.md` explains each of them; a test fails when one is missing there.
"""

from shared.domain.audiences import size_advice

REQUESTED = "The request has arrived. The members are read in a moment."
CHECKING = "Reading the members of this segment. Nothing is sent to LinkedIn yet."
WAITING_FOR_SIGN_IN = "The members are read. Sign in to LinkedIn to go on."
SIGN_IN_AGAIN = "LinkedIn no longer accepts the sign-in. Sign in to LinkedIn again; the job then goes on where it stopped."
WAITING_FOR_AD_ACCOUNT = "The members are read. Choose an ad account and press Create audience."
ACCOUNT_NOT_USABLE = "The chosen ad account cannot be used for audiences. Choose another ad account and press Create audience."
READY_TO_CREATE = "The members are read. Press Create audience to send them to LinkedIn."
SECOND_YES = "Press Create audience once more and confirm that you want such a small audience."
UPLOADING = "Sending the members to LinkedIn as hashes. You can close this page."
BUILDING = "All members are sent. LinkedIn is matching them now, which takes up to 48 hours."
READY = "The audience is ready. Find it in Campaign Manager under Plan, Audiences, Matched."
ARCHIVED = "LinkedIn has archived the audience because it was not used for 30 days. Put it into a campaign to wake it up."
EXPIRED = "LinkedIn has dropped the audience because it was not used for 90 days. Press Retry to make it again."
CANCELLED = "Cancelled. What was already sent stays in the audience at LinkedIn until you delete it in Campaign Manager."
CANCELLED_BEFORE_SENDING = "Cancelled. Nothing was sent to LinkedIn."
NO_USABLE_MEMBERS = "None of the {members:,} members of this segment can be sent: see the reasons beside. Correct the email addresses, then press Retry."
EMPTY_SEGMENT = "This segment has no members. Add members to it, then press Retry."
TOO_SMALL = "{advice} An automatic run does not create such an audience. Press Retry to decide yourself."
LINKEDIN_FAILED = "LinkedIn could not process the audience and marks it {state}. Press Retry to make it again."
STILL_BUILDING = (
    "LinkedIn has not finished matching after {hours:g} hours. Fewer than 300 matched members explain most such cases. "
    "Look at the audience in Campaign Manager, or press Retry to ask LinkedIn again."
)
AUDIENCE_DELETED = "The audience was deleted at LinkedIn. Press Retry to make it again."
ALL_REFUSED = "LinkedIn refused every member that was sent ({reasons}). Ask your administrator to look at the logs."
PAUSED = "{reason} Trying again by itself; this is attempt {attempt}."
QUOTA = "LinkedIn's daily quota for this app is used up. The job goes on by itself after midnight UTC."
GAVE_UP = "{reason} This was tried {attempts} times. Press Retry to go on where it stopped."
DEFECT = "Something unexpected went wrong ({kind}). Press Retry; if it happens again, give your administrator the correlation id {correlation}."
POISON = "The job stopped because its messages could not be handled. Press Retry; if it happens again, tell your administrator."
LIVE_WITHOUT_USER = "This segment went live and should become an audience, but nobody's sign-in is set. Open the tab and switch the option on again."

SIGN_IN_WAITING = "Open the sign-in address within {minutes} minutes and allow access at LinkedIn."
SIGNED_IN = "Signed in to LinkedIn. The sign-in lasts until {until:%d %B %Y}."
SIGNED_IN_NO_ACCOUNT = (
    "Signed in to LinkedIn, but none of your ad accounts can be used: it has to be active and your role has to be more than Viewer. "
    "Ask the owner of the ad account in Campaign Manager, then press Refresh accounts."
)
SIGNED_IN_ACCOUNTS_LATER = "Signed in to LinkedIn. Your ad accounts are read in a moment."
SIGN_IN_INTERRUPTED = "{reason} Press Sign in to try again in a few minutes."
NOT_SIGNED_IN = "You are not signed in to LinkedIn. Press Sign in."
SIGNED_OUT = "Signed out. The LinkedIn token is deleted."
SIGN_IN_EXPIRES_SOON = "The LinkedIn sign-in ends in {days} days. Sign in again before that, so that nothing stops."
SIGN_IN_EXPIRED = "The LinkedIn sign-in has ended. Sign in again."
SIGN_IN_MISSING_SCOPE = "LinkedIn did not grant {scopes}. Ask your administrator to add the product with this permission to the LinkedIn app, then sign in again."


def ready_to_create(usable: int) -> str:
    """Return what a person reads before pressing Create."""
    return " ".join(filter(None, (READY_TO_CREATE, size_advice(usable))))


def needs_second_yes(usable: int) -> str:
    """Return what a person reads who wants an audience that LinkedIn will most likely not serve."""
    return f"{size_advice(usable)} {SECOND_YES}"
