"""What refusals and failures of the storage services mean for the job, and the few short repeats before one is raised."""

import time
from collections.abc import Callable

from azure.core.exceptions import AzureError, HttpResponseError, ServiceRequestError

from shared.errors import (
    AudienceSyncError,
    ConfigurationWrong,
    OutcomeUnknown,
    RemoteUnavailable,
    SomebodyElseChangedIt,
    UnexpectedAnswer,
)

PAUSES = (0.2, 0.8)  # a restart of the storage service is waited out by the queue, not here
BAD_REQUEST = 400
NOT_FOUND = 404
CONFLICT = 409
_PASSING = frozenset({408, 429, 500, 502, 503, 504})


def attempt[T](call: Callable[[], T], *, wanted: tuple[int, ...] = ()) -> T:
    """Return what a call to a storage service gives; hiccups are repeated twice within a second.

    The clients' own repeats are switched off, because they leave out some requests and pause for long. Whoever
    calls must bear that the request was carried out although its answer was lost. An answer with a status in
    `wanted` is raised as it is (HttpResponseError), anything else as an error of ours.
    """
    for pause in (*PAUSES, None):
        try:
            return call()
        except AzureError as error:
            if isinstance(error, HttpResponseError) and error.status_code in wanted:
                raise
            if pause is None or not _is_passing(error):
                raise meaning(error) from error
            time.sleep(pause)
        except (RemoteUnavailable, OutcomeUnknown):  # no answer to a request that was sent without a client
            if pause is None:
                raise
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _is_passing(error: AzureError) -> bool:
    return not isinstance(error, HttpResponseError) or error.status_code in _PASSING


def meaning(error: AzureError) -> AudienceSyncError:
    """Return the error of ours that an exception of a storage client stands for."""
    if isinstance(error, ServiceRequestError):
        return RemoteUnavailable("The app's storage account could not be reached.")
    if not isinstance(error, HttpResponseError) or error.status_code is None:
        return OutcomeUnknown(f"The app's storage account gave no answer ({type(error).__name__}).")
    code = getattr(error, "error_code", None) or ""
    kind, sentence = _MEANINGS.get(error.status_code, (UnexpectedAnswer, _UNFORESEEN))
    return kind(sentence.format(told=f"status {error.status_code}{f', {getattr(code, "value", code)}' if code else ''}"))


_REFUSED = (
    "The app's storage account refuses the app ({told}). An administrator has to check the setting AzureWebJobsStorage, or the "
    "roles of the app's identity: Storage Blob Data Owner, Storage Queue Data Contributor, Storage Table Data Contributor."
)
_UNFORESEEN = "The app's storage account refused a request in a way nobody foresaw ({told}). Look at the logs."
_MEANINGS: dict[int, tuple[type[AudienceSyncError], str]] = {
    **dict.fromkeys(_PASSING | {CONFLICT}, (RemoteUnavailable, "The app's storage account cannot answer now ({told}).")),
    401: (ConfigurationWrong, _REFUSED),
    403: (ConfigurationWrong, _REFUSED),
    412: (SomebodyElseChangedIt, "Somebody else changed the stored state at the same moment."),
}
