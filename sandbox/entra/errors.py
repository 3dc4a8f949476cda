"""Error answers of Entra's token endpoint: an AADSTS number, its OAuth error word and its sentence.

The numbers are those of Microsoft's page "Microsoft Entra authentication and authorization error codes".
"""

import uuid
from datetime import datetime
from typing import Any

from sandbox.web import Refusal

_ERRORS: dict[int, tuple[int, str, str]] = {
    50027: (401, "invalid_client", "Invalid JWT token. {why}"),
    50011: (400, "invalid_request", "The redirect URI '{address}' specified in the request does not match the registered ones."),
    70000: (400, "invalid_grant", "Provided grant is invalid or malformed."),
    70003: (400, "unsupported_grant_type", "The app requested an unsupported grant type '{grant}'."),
    70008: (400, "invalid_grant", "The provided authorization code or refresh token has expired due to inactivity."),
    70016: (
        400,
        "authorization_pending",
        "OAuth 2.0 device flow error. Authorization is pending. Continue polling.",
    ),
    70018: (
        400,
        "bad_verification_code",
        "Invalid verification code due to User typing in wrong user code for device code flow.",
    ),
    70019: (400, "expired_token", "Verification code expired. Have the user retry the sign-in."),
    70020: (400, "authorization_declined", "The user declined the device code flow."),
    90002: (400, "invalid_tenant", "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID."),
    90014: (400, "invalid_request", "The required field '{field}' is missing from the credential."),
    500011: (
        400,
        "invalid_resource",
        "The resource principal named {resource} was not found in the tenant named {tenant}.",
    ),
    501481: (400, "invalid_grant", "The Code_Verifier does not match the code_challenge supplied in the authorization request."),
    700016: (400, "unauthorized_client", "Application with identifier '{client}' was not found in the directory '{tenant}'."),
    700021: (401, "invalid_client", "Client assertion application identifier doesn't match 'client_id' parameter."),
    700024: (401, "invalid_client", "Client assertion is not within its valid time range."),
    1002012: (
        400,
        "invalid_scope",
        "The provided value for scope {scope} is not valid. Client credential flows need the resource followed by /.default.",
    ),
    7000215: (
        401,
        "invalid_client",
        "Invalid client secret provided. Ensure the secret being sent is the client secret value of app '{client}'.",
    ),
    7000218: (
        401,
        "invalid_client",
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
    ),
}


class EntraRefusal(Refusal):
    """What the token endpoint answers when it issues nothing; `number` is the AADSTS number."""

    def __init__(self, number: int, now: datetime, correlation_id: str | None = None, **words: str) -> None:
        status, error, sentence = _ERRORS[number]
        trace, correlation, at = str(uuid.uuid4()), correlation_id or str(uuid.uuid4()), f"{now:%Y-%m-%d %H:%M:%SZ}"
        text = f"AADSTS{number}: {sentence.format(**words)} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {at}"
        body: dict[str, Any] = {
            "error": error,
            "error_description": text,
            "error_codes": [number],
            "timestamp": at,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"https://login.microsoftonline.com/error?code={number}",
        }
        super().__init__(status, body)


class IdentityRefusal(Refusal):
    """What App Service's local identity endpoint answers when it gives no token."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, {"statusCode": status, "message": message})
