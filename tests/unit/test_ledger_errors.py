import traceback

import pytest
from redis import exceptions

from eos.core.errors import EosError, FatalError, RetriableError
from eos.stores.redis.errors import translate, translated

IN_SCRIPT_6_2 = "Error running script (call to f_6b1bf): @user_script:3: "


@pytest.mark.parametrize(
    ("raised", "meaning", "advice"),
    [
        (exceptions.ConnectionError("refused"), RetriableError, "cannot be reached"),
        (exceptions.MaxConnectionsError("many"), RetriableError, "cannot be reached"),
        (exceptions.TimeoutError("slow"), RetriableError, "in time"),
        (exceptions.BusyLoadingError("loading"), RetriableError, "loading"),
        (exceptions.ResponseError("BUSY Redis is busy"), RetriableError, "SCRIPT KILL"),
        (exceptions.ReadOnlyError("read only"), RetriableError, "primary"),
        (exceptions.ResponseError(IN_SCRIPT_6_2 + "-READONLY x"), RetriableError, "primary"),
        (exceptions.OutOfMemoryError("used memory"), RetriableError, "maxmemory"),
        (exceptions.ResponseError(IN_SCRIPT_6_2 + "-OOM x"), RetriableError, "maxmemory"),
        (exceptions.ResponseError("MISCONF snapshots"), RetriableError, "disk"),
        (exceptions.ResponseError("NOREPLICAS good"), RetriableError, "replicas"),
        (exceptions.TryAgainError("TRYAGAIN"), RetriableError, "slot"),
        (exceptions.ClusterDownError("down"), RetriableError, "fail-over"),
        (exceptions.AuthenticationError("WRONGPASS"), FatalError, "password"),
        (exceptions.ResponseError("NOAUTH required"), FatalError, "password"),
        (exceptions.NoPermissionError("no"), FatalError, "rights"),
        (
            exceptions.ResponseError(IN_SCRIPT_6_2 + "The user can't run this command or sub"),
            FatalError,
            "rights",
        ),
        (exceptions.ResponseError("WRONGTYPE Operation"), FatalError, "somebody else"),
        (exceptions.ResponseError(IN_SCRIPT_6_2 + "EOSLAYOUT 2"), FatalError, "version"),
        (exceptions.ResponseError("ERR something new"), FatalError, "nobody expects"),
        (exceptions.DataError("invalid input"), FatalError, "nobody expects"),
    ],
    ids=lambda x: str(x)[:40],
)
def test_what_the_client_raises_says_what_to_do(
    raised: exceptions.RedisError, meaning: type[EosError], advice: str
) -> None:
    error = translate(raised)
    assert type(error) is meaning
    assert advice in str(error)
    assert str(raised) in str(error)


def test_a_password_is_left_out_wherever_it_turns_up() -> None:
    for text in (
        "unknown command 'AUTH', with args beginning with: 'me' 's3cret' ",
        f"unknown command `AUTH`, with args beginning with: `me`, `{'s3cret' * 30}",
        "a proxy of somebody's: s3cret is wrong",
    ):
        for secret in ("s3cret", "s3cret" * 30):
            error = exceptions.ResponseError(text)
            with pytest.raises(FatalError, match="nobody expects") as told, translated(secret):
                raise error
            if secret in text:
                assert secret not in "".join(traceback.format_exception(told.value))
        assert "args" not in str(told.value)


def test_a_code_is_understood_though_the_text_is_cut() -> None:
    error = translate(exceptions.ResponseError("NOAUTH NOAUTH"), "NOAUTH")
    assert "check user and password" in str(error)
    assert "NOAUTH" not in str(error)


def test_who_waits_is_told_for_whom() -> None:
    error = translate(exceptions.ConnectionError("refused"))
    assert isinstance(error, RetriableError)
    assert error.on == "ledger"


def test_the_first_cause_is_kept() -> None:
    with pytest.raises(RetriableError) as told, translated():
        raise exceptions.TimeoutError("slow")
    assert isinstance(told.value.__cause__, exceptions.TimeoutError)
