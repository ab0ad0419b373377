"""Errors as `application/problem+json` (RFC 9457)."""

from http import HTTPStatus

from starlette.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"


def problem(status: int, detail: str, **more: object) -> JSONResponse:
    """Give an answer that says what is wrong.

    Args:
        status: Of the answer.
        detail: What is wrong, and what to do.
        **more: Further members.
    """
    told = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return JSONResponse(told, status, media_type=MEDIA_TYPE)
