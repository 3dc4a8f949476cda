"""Access tokens for a step: the stored sign-in, refreshed when it has run out."""

import threading
from collections.abc import Callable

from shared.errors import AccessTokenExpired, SignInNeeded
from shared.pipeline import sentences
from shared.ports import Clock, OAuth, SignIns


class TokenKeeper:
    """Hands a user's LinkedIn token to calls, and refreshes it at most once per call."""

    def __init__(self, sign_ins: SignIns, oauth: OAuth, clock: Clock) -> None:
        self._sign_ins, self._oauth, self._clock = sign_ins, oauth, clock

    def token(self, user_id: str) -> str:
        """Return a token that should work now. Raises SignInNeeded when only a person can provide one."""
        sign_in = self._sign_ins.load(user_id)
        if sign_in is None:
            raise SignInNeeded(sentences.WAITING_FOR_SIGN_IN)
        if sign_in.has_expired(self._clock.now()):
            return self.refreshed(user_id)
        return sign_in.access_token

    def refreshed(self, user_id: str) -> str:
        """Return a new token from LinkedIn. Raises SignInNeeded when LinkedIn grants none."""
        sign_in = self._sign_ins.load(user_id)
        if sign_in is None or not sign_in.can_refresh(self._clock.now()):
            raise SignInNeeded(sentences.SIGN_IN_AGAIN)
        renewed = self._oauth.refresh(sign_in, self._clock.now())
        self._sign_ins.save(renewed)
        return renewed.access_token

    def call[T](self, user_id: str, call: Callable[[str], T]) -> T:
        """Return what `call` gives for the user's token; when LinkedIn says it has expired, once more with a new one."""
        return self.held(user_id).call(call)

    def held(self, user_id: str) -> "HeldToken":
        """Return the user's token for a stretch of calls, so that it is not looked up for each of them."""
        return HeldToken(self, user_id)


class HeldToken:
    """One user's token for many calls, also at once: looked up for the first, refreshed once for all that find it expired.

    To be held for seconds only: a sign-in that is deleted meanwhile is noticed when LinkedIn refuses its token.
    """

    def __init__(self, keeper: TokenKeeper, user_id: str) -> None:
        self._keeper, self._user_id = keeper, user_id
        self._lock = threading.Lock()
        self._token = ""  # nosec B105 # none yet

    def call[T](self, call: Callable[[str], T]) -> T:
        """Return what `call` gives for the token; when LinkedIn says it has expired, once more with a new one."""
        token = self._present()
        try:
            return call(token)
        except AccessTokenExpired:
            return call(self._instead_of(token))

    def _present(self) -> str:
        with self._lock:
            self._token = self._token or self._keeper.token(self._user_id)
            return self._token

    def _instead_of(self, expired: str) -> str:
        with self._lock:
            if self._token == expired:
                self._token = self._keeper.refreshed(self._user_id)
            return self._token
