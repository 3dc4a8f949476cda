"""The errors of this product, named after what the job does next.

    AudienceSyncError
    ├── TryAgainLater            the step is repeated after a pause
    │   ├── Throttled                the remote API asked us to slow down
    │   ├── QuotaUsedUp              LinkedIn's daily quota is gone; the job rests until after midnight UTC
    │   ├── RemoteUnavailable        no answer, or an answer that says "not now"
    │   │   └── OutcomeUnknown           the request may or may not have been carried out
    │   ├── PageLinkExpired          Dataverse no longer knows where we were; reading starts over
    │   └── SomebodyElseChangedIt    a conditional write lost; read again and decide again
    ├── NeedsAttention           the job waits until a person acts
    │   ├── SignInNeeded             LinkedIn no longer (or not yet) accepts this user's sign-in
    │   │   └── AccessTokenExpired       the access token has run out; refreshed once, then as above
    │   └── AdAccountNeeded          no ad account is chosen, or the chosen one cannot be used
    ├── JobEnds                  the job is over and says why
    │   ├── NotAllowed               this segment cannot become an audience as it is
    │   │   └── SegmentNotFound          there is no such segment
    │   ├── TooSmall                 an automatic run has too few usable members
    │   ├── ConfigurationWrong       a setting or a permission has to be put right
    │   ├── AudienceGone             the audience no longer takes members; it has to be made again
    │   └── UnexpectedAnswer         a remote API answered in a way nobody foresaw; a developer has to look
    └── RowGone                  the row in Dataverse was deleted; the job is forgotten

A message is a sentence for a person: what happened, to which thing, what to do. It may hold record ids
and counts, never an email address or a token.
"""


class AudienceSyncError(Exception):
    """Anything this product raises on purpose."""


class TryAgainLater(AudienceSyncError):
    """The step is repeated. `after_seconds` is the pause the remote API asked for, None if it named none."""

    def __init__(self, message: str, after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds


class Throttled(TryAgainLater):
    """The remote API asked us to slow down; nothing was carried out."""


class QuotaUsedUp(TryAgainLater):
    """LinkedIn's quota of the day is used up; `after_seconds` reaches past midnight UTC."""


class RemoteUnavailable(TryAgainLater):
    """The remote API gave no answer, or one that says it cannot answer now."""


class OutcomeUnknown(RemoteUnavailable):
    """The request may have been carried out although no clear answer came."""


class PageLinkExpired(TryAgainLater):
    """Dataverse no longer accepts the link to the next page; the members are read from the start again."""


class SomebodyElseChangedIt(TryAgainLater):
    """A conditional write found something newer; read again and decide again."""


class NeedsAttention(AudienceSyncError):
    """The job waits until a person acts."""


class SignInNeeded(NeedsAttention):
    """The person whose sign-in is used has to sign in to LinkedIn (again)."""


class AccessTokenExpired(SignInNeeded):
    """The access token has run out; a refresh may help."""


class AdAccountNeeded(NeedsAttention):
    """A person has to choose an ad account that can be used."""


class JobEnds(AudienceSyncError):
    """The job is over; repeating it unchanged would end the same way."""


class NotAllowed(JobEnds):
    """This segment cannot become an audience as it is."""


class SegmentNotFound(NotAllowed):
    """There is no such segment, or the app may not read it."""


class TooSmall(JobEnds):
    """An automatic run found fewer usable members than LinkedIn serves."""


class ConfigurationWrong(JobEnds):
    """A setting or a permission has to be put right by an administrator."""


class AudienceGone(JobEnds):
    """The audience at LinkedIn was deleted, has expired or has failed; it has to be made again."""


class UnexpectedAnswer(JobEnds):
    """A remote API answered in a way nobody foresaw."""


class RowGone(AudienceSyncError):
    """The row in Dataverse was deleted, so nobody waits for the job any more."""
