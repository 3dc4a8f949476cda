"""The LinkedIn sign-in of one Dynamics user, driven by that user's own `lima_signin` row."""

import json
import secrets
from collections.abc import Sequence
from datetime import timedelta

from shared.dataverse.schema import SignIn as Column
from shared.dataverse.schema import SignInCommand, SignInStatus
from shared.domain.signins import AdAccount, SignIn
from shared.errors import AudienceSyncError, JobEnds, RowGone, SignInNeeded, TryAgainLater
from shared.logs import correlated, get_logger
from shared.pipeline import sentences
from shared.pipeline.again import come_back
from shared.pipeline.runner import Runner
from shared.pipeline.tokens import TokenKeeper
from shared.ports import Clock, Jobs, LinkedIn, Message, OAuth, Queue, Records, SignInRequest, SignIns, Ticket, Tickets

logger = get_logger(__name__)

TICKET_LIFE = timedelta(minutes=15)
_ACCOUNTS_LENGTH = 1_000_000


class SignInDesk:
    """Takes the commands of sign-in rows and stores what LinkedIn grants. Tokens go to storage and nowhere else."""

    def __init__(
        self,
        *,
        records: Records,
        sign_ins: SignIns,
        tickets: Tickets,
        oauth: OAuth,
        linkedin: LinkedIn,
        tokens: TokenKeeper,
        jobs: Jobs,
        runner: Runner,
        queue: Queue,
        clock: Clock,
        public_url: str,
    ) -> None:
        self._records, self._sign_ins, self._tickets = records, sign_ins, tickets
        self._oauth, self._linkedin, self._tokens = oauth, linkedin, tokens
        self._jobs, self._runner, self._queue, self._clock = jobs, runner, queue, clock
        self._public_url = public_url

    # -------------------------------------------------------------- commands on the row

    def handle(self, message: Message) -> None:
        """Do what a sign-in row asks. Safe to repeat."""
        with correlated(message.correlation or message.id):
            try:
                self._take_command(message.id)
            except RowGone:
                return
            except TryAgainLater as error:
                come_back(self._queue, self._clock, message, error)
            except AudienceSyncError as error:
                logger.warning(
                    "A sign-in command failed", extra={"action": "signin-failed", "row": message.id, "reason": str(error)}
                )
                self._say(message.id, SignInStatus.REFUSED, str(error))

    def _take_command(self, row_id: str) -> None:
        request = self._records.read_sign_in_request(row_id)
        if request is None or request.command is None:
            return
        match request.command:
            case SignInCommand.CONNECT:
                self._offer_address(request)
            case SignInCommand.DISCONNECT:
                self._disconnect(request)
            case SignInCommand.REFRESH_ACCOUNTS:
                self._refresh(request)

    def _offer_address(self, request: SignInRequest) -> None:
        """Write a one-time address on the row; only its owner can read it."""
        ticket_id = secrets.token_urlsafe(32)
        expires = self._clock.now() + TICKET_LIFE
        self._tickets.issue(ticket_id, Ticket(request.owner, request.row_id, expires))
        minutes = int(TICKET_LIFE.total_seconds() // 60)
        self._records.update_sign_in(
            request.row_id,
            {
                Column.STATUS: SignInStatus.WAITING,
                Column.MESSAGE: sentences.SIGN_IN_WAITING.format(minutes=minutes),
                Column.ADDRESS: f"{self._public_url}/api/linkedin/connect?ticket={ticket_id}",
                Column.ADDRESS_EXPIRES_ON: expires,
                Column.COMMAND: None,
            },
            etag=request.etag,
        )
        logger.info("Offered a sign-in address", extra={"action": "signin-offered", "row": request.row_id})

    def _disconnect(self, request: SignInRequest) -> None:
        """Delete the token here, and ask LinkedIn to forget it."""
        try:
            sign_in = self._sign_ins.load(request.owner)
        except SignInNeeded:
            sign_in = None  # sealed under a lost key: there is nothing to revoke, only to delete
        self._sign_ins.delete(request.owner)
        if sign_in is not None:
            self._oauth.revoke(sign_in)
        self._records.update_sign_in(
            request.row_id,
            {
                Column.STATUS: SignInStatus.NOT_SIGNED_IN,
                Column.MESSAGE: sentences.SIGNED_OUT,
                Column.EXPIRES_ON: None,
                Column.ADDRESS: None,
                Column.ADDRESS_EXPIRES_ON: None,
                Column.AD_ACCOUNTS: None,
                Column.LINKEDIN_NAME: None,
                Column.COMMAND: None,
            },
            etag=request.etag,
        )
        logger.info("Signed a user out", extra={"action": "signin-deleted", "row": request.row_id})

    def _refresh(self, request: SignInRequest) -> None:
        try:
            if self._sign_ins.load(request.owner) is None:
                self._say(request.row_id, SignInStatus.NOT_SIGNED_IN, sentences.NOT_SIGNED_IN, request.etag)
                return
            accounts = self._tokens.call(request.owner, self._linkedin.ad_accounts)
            sign_in = self._sign_ins.load(request.owner)
        except SignInNeeded as error:
            self._say(request.row_id, SignInStatus.EXPIRED, str(error), request.etag)
            return
        except JobEnds as error:
            self._say(request.row_id, SignInStatus.REFUSED, str(error), request.etag)
            return
        if sign_in is not None:
            self._records.update_sign_in(request.row_id, self._granted(sign_in, accounts), etag=request.etag)

    # -------------------------------------------------------------- the pages

    def ticket(self, ticket_id: str) -> Ticket | None:
        """Return a ticket that can still be used; None for a used, expired or invented one."""
        ticket = self._tickets.look_at(ticket_id)
        return ticket if ticket is not None and ticket.expires > self._clock.now() else None

    def begin(self, state: str, redirect_uri: str) -> str:
        """Return LinkedIn's address for a sign-in with this state."""
        return self._oauth.authorization_url(state, redirect_uri)

    def finish(self, ticket_id: str, code: str, redirect_uri: str) -> str | None:
        """Exchange the code, store the sign-in, offer the ad accounts, wake waiting jobs; return the sentence for the page.

        None when the ticket was used already or has expired: nothing changes then. Raises SignInNeeded
        when LinkedIn refuses the code, ConfigurationWrong when it refuses the app, TryAgainLater when it cannot be reached;
        the row then says so, because the ticket and the code are used up.
        """
        ticket = self._tickets.use_up(ticket_id)
        now = self._clock.now()
        if ticket is None or ticket.expires <= now:
            return None
        try:
            sign_in = self._exchanged(ticket, code, redirect_uri)
            changes = self._accounts_of(sign_in)
        except AudienceSyncError as error:
            self._say(ticket.row_id, SignInStatus.REFUSED, _with_next_step(error))
            raise
        self._sign_ins.save(sign_in)
        self._records.update_sign_in(ticket.row_id, changes)
        logger.info("Stored a sign-in", extra={"action": "signin-stored", "row": ticket.row_id})
        self.wake(ticket.user_id)
        return str(changes[Column.MESSAGE])

    def _exchanged(self, ticket: Ticket, code: str, redirect_uri: str) -> SignIn:
        sign_in = self._oauth.exchange(ticket.user_id, code, redirect_uri, self._clock.now())
        if missing := sign_in.missing_scopes():
            raise SignInNeeded(sentences.SIGN_IN_MISSING_SCOPE.format(scopes=", ".join(missing)))
        return sign_in

    def _accounts_of(self, sign_in: SignIn) -> dict[str, object]:
        """Return what the row shows of a new sign-in; when LinkedIn cannot tell the ad accounts now, the row asks for them."""
        try:
            return self._granted(sign_in, self._linkedin.ad_accounts(sign_in.access_token))
        except TryAgainLater as error:
            logger.info("The ad accounts are read later", extra={"action": "accounts-later", "reason": str(error)})
            later = {Column.MESSAGE: sentences.SIGNED_IN_ACCOUNTS_LATER, Column.COMMAND: SignInCommand.REFRESH_ACCOUNTS}
            return self._granted(sign_in, ()) | later

    def refuse(self, ticket_id: str, sentence: str) -> bool:
        """Note on the row that LinkedIn or the person refused; False when the ticket is not good any more."""
        ticket = self._tickets.use_up(ticket_id)
        if ticket is None or ticket.expires <= self._clock.now():
            return False
        self._say(ticket.row_id, SignInStatus.REFUSED, sentence)
        return True

    def wake(self, user_id: str) -> None:
        """Let the jobs that wait for this user's sign-in look again."""
        for job_id in self._jobs.waiting_for_sign_in(user_id):
            self._runner.wake(job_id)

    def warn(self, user_id: str) -> None:
        """Say on the user's row how long the sign-in lasts, when that is soon; called daily by upkeep.

        A sign-in that has ended for good opens nothing any more and is deleted.
        """
        sign_in = self._sign_ins.load(user_id)
        if sign_in is None:
            return
        row_id = self._records.sign_in_row_of(user_id)
        days = sign_in.days_left(self._clock.now())
        logger.info("A sign-in ends soon", extra={"action": "signin-ends-soon", "row": row_id, "days": days})
        if days < 0:
            self._sign_ins.delete(user_id)
        if row_id is None:
            return
        if days < 0:
            self._say(row_id, SignInStatus.EXPIRED, sentences.SIGN_IN_EXPIRED)
        else:
            self._say(row_id, SignInStatus.EXPIRES_SOON, sentences.SIGN_IN_EXPIRES_SOON.format(days=days))

    # -------------------------------------------------------------- words

    def _granted(self, sign_in: SignIn, accounts: Sequence[AdAccount]) -> dict[str, object]:
        usable = any(account.is_usable for account in accounts)
        sentence = sentences.SIGNED_IN.format(until=sign_in.usable_until()) if usable else sentences.SIGNED_IN_NO_ACCOUNT
        return {
            Column.STATUS: SignInStatus.SIGNED_IN,
            Column.MESSAGE: sentence,
            Column.EXPIRES_ON: sign_in.usable_until(),
            Column.ADDRESS: None,
            Column.ADDRESS_EXPIRES_ON: None,
            Column.AD_ACCOUNTS: offered(accounts),
            Column.COMMAND: None,
        }

    def _say(self, row_id: str, status: SignInStatus, sentence: str, etag: str | None = None) -> None:
        changes = {Column.STATUS: status, Column.MESSAGE: sentence, Column.ADDRESS: None, Column.COMMAND: None}
        try:
            self._records.update_sign_in(row_id, changes, etag=etag)
        except RowGone:
            return
        except AudienceSyncError as error:
            logger.warning("A sign-in row could not be written", extra={"action": "signin-not-shown", "reason": str(error)})


def _with_next_step(error: AudienceSyncError) -> str:
    """Return an error's sentence for the row; what passes by itself names no next step, and here there is one."""
    return sentences.SIGN_IN_INTERRUPTED.format(reason=error) if isinstance(error, TryAgainLater) else str(error)


def offered(accounts: Sequence[AdAccount]) -> str:
    """Return the ad accounts as the tab reads them: JSON, usable ones first, by name; as many as the column takes."""
    ordered = sorted(accounts, key=lambda account: (not account.is_usable, account.name.casefold()))
    entries = [
        {
            "urn": account.urn,
            "name": account.name,
            "currency": account.currency,
            "status": account.status,
            "role": account.role,
            "test": account.test,
            "usable": account.is_usable,
        }
        for account in ordered
    ]
    while len(text := json.dumps(entries, ensure_ascii=False)) > _ACCOUNTS_LENGTH:
        entries = entries[: len(entries) // 2]
    return text
