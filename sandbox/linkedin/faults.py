"""Misbehaviour that only LinkedIn knows; the kinds are described in the docstring of `sandbox.linkedin`."""

from collections.abc import Callable
from typing import Any

from werkzeug.wrappers import Request, Response

from sandbox.linkedin import errors
from sandbox.linkedin.oauth import OAuth
from sandbox.linkedin.state import State
from sandbox.linkedin.waiting import Speed
from sandbox.web import Dropped, Fault, Refusal


class Faults:
    """Strikes requests. `answer` is what answers a request as usual."""

    def __init__(self, oauth: OAuth, state: State, answer: Callable[[Request], Response]) -> None:
        self._oauth = oauth
        self._state = state
        self._answer = answer
        self.kinds: dict[str, Callable[[Fault, Request], Response | None]] = {
            "element-failures": self._fail_elements,
            "wrong-length": self._lose_elements,
            "slow-spread": self._spread_slowly,
            "batch-applied-then-5xx": self._fail_afterwards,
            "created-then-dropped": self._drop_afterwards,
            "created-then-409": self._conflict_afterwards,
            "conflict": lambda _fault, _request: errors.conflict().response(),
            "just-issued-401": self._forget_new_token,
            "throttled": lambda _fault, _request: errors.throttled().response(),
        }

    def strike(self, fault: Fault, request: Request) -> Response | None:
        """Return the answer of a fault, or None when the request, perhaps marked, is to be answered as usual."""
        return self.kinds[fault.kind](fault, request)

    def _fail_elements(self, fault: Fault, request: Request) -> None:
        planned: dict[str, Any] = (
            fault.body if isinstance(fault.body, dict) else {"failing": 1 if fault.body is None else fault.body}
        )
        request.environ["sandbox.linkedin.elements"] = planned

    def _lose_elements(self, fault: Fault, request: Request) -> None:
        request.environ["sandbox.linkedin.elements"] = {"missing": 1 if fault.body is None else fault.body}

    def _spread_slowly(self, fault: Fault, request: Request) -> None:
        request.environ["sandbox.linkedin.spread"] = Speed(seconds=fault.seconds)

    def _fail_afterwards(self, fault: Fault, request: Request) -> Response:
        self._answer(request)
        return errors.unavailable(fault.status).response()

    def _drop_afterwards(self, _fault: Fault, request: Request) -> Response:
        self._answer(request)
        raise Dropped

    def _conflict_afterwards(self, _fault: Fault, request: Request) -> Response:
        self._answer(request)
        return errors.conflict().response()

    def _forget_new_token(self, fault: Fault, request: Request) -> Response | None:
        try:
            with self._state.lock:
                token = self._oauth.check(request.headers.get("Authorization"))
        except Refusal:
            return None
        if fault.seconds and self._oauth.clock.time() - token.created >= fault.seconds:
            return None
        return errors.unauthorised("REVOKED_ACCESS_TOKEN").response()
