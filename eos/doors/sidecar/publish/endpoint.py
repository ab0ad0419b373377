"""Answers `POST /v1/topics/{topic}`: publish this, once, however often you are asked."""

import time
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from eos.core.errors import EosError
from eos.core.events import Answered, Emit
from eos.doors.sidecar.listen.bodies import TooLongError, TooSlowError, body_of
from eos.doors.sidecar.listen.problems import problem
from eos.doors.sidecar.publish.asking import Asked, MalformedCallError, asked
from eos.doors.sidecar.publish.envelope import fits, written
from eos.doors.sidecar.publish.publication import Outcome, Publication

_AGAIN = {"retry-after": "1"}
_GONE = 499  # nobody gets it; for the metric
_SAME = "the same call, with the same Idempotency-Key, is safe"

_PROBLEMS = {
    Outcome.IN_FLIGHT: (409, "a call with this Idempotency-Key is in flight: ask again soon"),
    Outcome.OTHER_PAYLOAD: (422, "another call was made under this Idempotency-Key: use a new one"),
    Outcome.REFUSED: (500, "it could not be published: it is among the dead letters"),
    Outcome.MOVED: (503, f"another sidecar takes this over right now: {_SAME}"),
    Outcome.AWAY: (503, f"Kafka does not answer, so it may be published yet: {_SAME}"),
    Outcome.LATE: (503, f"not published yet, but it will be: {_SAME}"),
}
_WAITING = frozenset({409, 503})


class Publishing:
    """The endpoint.

    Args:
        publication: Publishes.
        topics: What may be published to.
        namespace: Part of the ids of what is published.
        most_bytes: How large a body may be.
        most_message: How large a message may be that the brokers take.
        seconds: For how long a body is waited for.
        emit: Told how each call was answered.
        draining: Tells whether calls are taken no more.

    Attributes:
        topics: What may be published to.
    """

    def __init__(
        self,
        publication: Publication,
        *,
        topics: tuple[str, ...],
        namespace: str,
        most_bytes: int,
        most_message: int,
        seconds: float,
        emit: Emit,
        draining: Callable[[], bool],
    ) -> None:
        self._publication = publication
        self.topics = topics
        self._namespace = namespace
        self._most_bytes = most_bytes
        self._most_message = most_message
        self._seconds = seconds
        self._emit = emit
        self._draining = draining

    async def answer(self, request: Request) -> Response:
        """Answer a call."""
        began = time.monotonic()
        topic = str(request.path_params["topic"])
        known = topic if topic in self.topics else ""
        status = _GONE
        try:
            answer = await self._answer(request, topic)
            status = answer.status_code
            return answer
        finally:
            self._emit(Answered(known, status, time.monotonic() - began))

    async def _answer(self, request: Request, topic: str) -> Response:
        if topic not in self.topics:
            return problem(404, f"{topic[:100]!r} is none of the topics in [publish] topics")
        if self._draining():
            return _problem(Outcome.MOVED)
        try:
            call, value = await self._read(request, topic)
            outcome = await self._publication(call.key, value, call.traces)
        except ClientDisconnect:
            return Response(status_code=_GONE)
        except (MalformedCallError, TooLongError, TooSlowError, EosError) as error:
            return problem(_status_of(error), str(error))
        if outcome not in {Outcome.PUBLISHED, Outcome.REPEATED}:
            return _problem(outcome)
        headers = {"idempotent-replayed": "true"} if outcome is Outcome.REPEATED else {}
        return JSONResponse({"topic": topic, "ids": call.ids(self._namespace)}, headers=headers)

    async def _read(self, request: Request, topic: str) -> tuple[Asked, bytes]:
        body = await body_of(request, self._most_bytes, self._seconds)
        headers = [
            (n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in request.headers.raw
        ]
        call = asked(getattr(request.state, "caller", ""), headers, body)
        value = written(topic, call.sends)
        if not fits(value, len(call.sends), self._most_message):
            raise MalformedCallError(
                f"{len(value)} bytes: the brokers take messages of {self._most_message}", 413
            )
        return call, value


def _status_of(error: Exception) -> int:
    match error:
        case MalformedCallError(status=status):
            return status
        case TooLongError():
            return 413
        case TooSlowError():
            return 408
        case _:
            return 500


def _problem(outcome: Outcome) -> Response:
    status, detail = _PROBLEMS[outcome]
    answer = problem(status, detail)
    if status in _WAITING:
        answer.headers.update(_AGAIN)
    return answer
