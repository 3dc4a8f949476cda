"""Access tokens for a step: the stored sign-in, refreshed when it has run out."""

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
            return self._refreshed(user_id)
        return sign_in.access_token

    def call[T](self, user_id: str, call: Callable[[str], T]) -> T:
        """Return what `call` gives for the user's token; when LinkedIn says it has expired, once more with a new one."""
        try:
            return call(self.token(user_id))
        except AccessTokenExpired:
            return call(self._refreshed(user_id))

    def _refreshed(self, user_id: str) -> str:
        sign_in = self._sign_ins.load(user_id)
        if sign_in is None or not sign_in.can_refresh(self._clock.now()):
            raise SignInNeeded(sentences.SIGN_IN_AGAIN)
        renewed = self._oauth.refresh(sign_in, self._clock.now())
        self._sign_ins.save(renewed)
        return renewed.access_token
