"""What S3's errors mean: which pass by themselves, and what an operator can do about the others.

Nothing of a credential is in a message: of what the server says, only its code and its own sentence are taken.
"""

from __future__ import annotations

import logging

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - the client library's own, for a server that cannot be reached
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ResponseStreamingError,
)

from store.errors import ObjectMissing, StoreError, StoreUnavailable

_log = logging.getLogger(__name__)

S3Error = ClientError | BotoCoreError

_CREATES = {"PutObject", "UploadPart", "CompleteMultipartUpload"}
# A conditional create found the key taken, or lost a race for it; or a multipart upload is over, which can mean that it
# was completed and we did not hear of it.
_TAKEN = {"PreconditionFailed", "412", "ConditionalRequestConflict", "OperationAborted", "NoSuchUpload"}
_RACING = {"ConditionalRequestConflict", "OperationAborted"}
# Of an upload: only who aborts it hears this, since for a create it is taken for the above.
_MISSING = {"NoSuchKey", "404", "NotFound", "NoSuchUpload"}

_TEMPORARY_STATUS = {429, 500, 502, 503, 504}
# The last three: what arrived is not what was sent.
_TEMPORARY = {"RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable", "Throttling"} | {
    "BadDigest",
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
}
_BROKEN_WIRE = (ConnectionError, HTTPClientError, IncompleteReadError, ResponseStreamingError)

# What each call must be allowed to do, where that is not its own name.
_ACTIONS = {
    "ListObjectsV2": "s3:ListBucket",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AssumeRoleWithWebIdentity": "sts:AssumeRoleWithWebIdentity",
}
_ADVICE = {
    "NoSuchBucket": "create the bucket, or name another in the object store's URL",
    "InvalidAccessKeyId": "the server does not know the access key id: check AWS_ACCESS_KEY_ID, and that"
    " AWS_ENDPOINT_URL_S3 names the server that the key is of",
    "SignatureDoesNotMatch": "the secret does not belong to the access key id: check AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the session token has expired: renew the credentials and start again",
    "InvalidToken": "the session token is none of this server's: check AWS_SESSION_TOKEN",
    "RequestTimeTooSkewed": "the clock of this machine is wrong: set it",
    "AuthorizationHeaderMalformed": "the bucket may be in another region: check AWS_REGION",
    "PermanentRedirect": "the bucket is in another region: check AWS_REGION",
    "NotImplemented": "the server lacks what write-once objects need, conditional creates: use one that has them",
    "InvalidIdentityToken": "the role does not trust the web identity: check its trust policy and AWS_ROLE_ARN",
}
_DENIED = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled", "AccountProblem"}
_NO_CREDENTIALS = "there are no credentials for the object store: give the process a role, or set AWS_ACCESS_KEY_ID and"
# Nobody mends a policy or a secret within seconds.
_OPERATOR_SECONDS = 30


def is_taken(error: S3Error) -> bool:
    """Tell whether a create ended because the key is taken, or may be."""
    return isinstance(error, ClientError) and error.operation_name in _CREATES and _code(error) in _TAKEN


def is_temporary(error: S3Error) -> bool:
    """Tell whether the same call may well succeed if it is sent again."""
    if isinstance(error, _BROKEN_WIRE):
        return True
    if not isinstance(error, ClientError):
        return False
    if _code(error) in _RACING:
        # An upload that lost a race cannot be completed any more; a single object can be put again.
        return error.operation_name == "PutObject"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status in _TEMPORARY_STATUS or _code(error) in _TEMPORARY


def fault_of(error: S3Error, what: str) -> StoreError:
    """Return the store's error for one of S3's about ``what``, with a sentence that says what to do."""
    if isinstance(error, ClientError):
        return _refusal(error, what)
    if isinstance(error, NoCredentialsError):
        return StoreUnavailable(f"{_NO_CREDENTIALS} AWS_SECRET_ACCESS_KEY", retry_after=_OPERATOR_SECONDS)
    if isinstance(error, PartialCredentialsError | CredentialRetrievalError):
        return StoreUnavailable(
            f"the credentials for the object store cannot be had: {error}", retry_after=_OPERATOR_SECONDS
        )
    # Callers of the API see this, and the library's own words name addresses of the inside: those are for the log.
    _log.warning("the object store could not be asked for %s: %s", what, error)
    if is_temporary(error):
        return StoreUnavailable(f"the object store does not answer (asked for {what})", retry_after=5)
    return StoreUnavailable(
        f"the object store cannot be asked for {what} ({type(error).__name__}): the log says more",
        retry_after=_OPERATOR_SECONDS,
    )


def _refusal(error: ClientError, what: str) -> StoreError:
    code, said = _code(error), error.response.get("Error", {}).get("Message", "")
    if code in _MISSING:
        return ObjectMissing(f"there is no object {what}")
    told = f"the object store answered {error.operation_name} of {what} with {code}: {said.rstrip('. ')}"
    if (advice := _advice(error)) is not None:
        return StoreUnavailable(f"{told}; {advice}", retry_after=_OPERATOR_SECONDS)
    return StoreUnavailable(told, retry_after=5)


def _advice(error: ClientError) -> str | None:
    if _code(error) in _DENIED:
        action = _ACTIONS.get(error.operation_name, f"s3:{error.operation_name}")
        return f"the credentials must allow {action}"
    return _ADVICE.get(_code(error))


def _code(error: S3Error) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""
