"""The password in the ledger's URL is shown by no error."""

import traceback
from pathlib import Path
from urllib.parse import quote

import pytest

from eos.core.errors import ConfigError, FatalError, RetriableError
from eos.stores.redis.ledger import RedisLedger
from eos.testing.ledger_suite.desk import WINDOW
from tests.conformance.rigs import OwnServer
from tests.conformance.servers import free_port, redis_server


@pytest.mark.parametrize(
    "url",
    [
        "nonsense://user:s3cret@here",
        "user:s3cret@here:6379",
        "redis://user:s3cret/@here:6379",
        "redis://user:s3cret?@here:6379",
        "redis://user:s3cret#@here:6379",
        "redis://user:s3cret[@here:6379",
        "redis://user:s3cret]@here:6379",
        "redis://user:s3cret\u2100@here:6379",
        "redis://s3cret#@here:6379",
        "redis://user:31337/s3cret@here:6379",
        "redis://user:31337?s3cret@here:6379",
        "redis://user:s3cret@here:port",
        "redis://user:s3cret@here:99999",
        "redis://here:6379/0?password=s3cret&socket_timeout=soon",
        "redis://here:6379/0?password=s3cret&nonsense=1",
        "redis://here:6379/0?nonsense=s3cret",
    ],
)
def test_a_url_that_is_none_is_a_wrong_setting_and_its_password_stays_secret(url: str) -> None:
    with pytest.raises(ConfigError, match="scheme") as told:
        RedisLedger(url, window=WINDOW)
    told_in_full = "".join(traceback.format_exception(told.value, chain=True))
    shown = told_in_full.partition("ConfigError")[2]  # above it stands the source of this test
    assert "s3cret" not in shown + str(told.value)
    assert "31337" not in shown
    assert told.value.__context__ is None


def test_a_password_with_any_character_works_when_it_is_encoded(rig: OwnServer) -> None:
    password = "s3/c?r#e@t[:]% \u2100"  # noqa: S105
    rig.redis.acl_setuser(
        "odd", enabled=True, passwords=["+" + password], categories=["+@all"], keys=["*"]
    )
    url = rig.server.url.replace("redis://", f"redis://odd:{quote(password, safe='')}@")
    RedisLedger(url, window=WINDOW).check()
    ledger = RedisLedger(url.replace("%40", ""), window=WINDOW)
    with pytest.raises(FatalError, match="login"):
        ledger.check()


def test_a_server_that_repeats_the_login_in_its_answer_is_not_quoted(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--rename-command", "AUTH", "LOGIN") as server:
        url = server.url.replace("redis://", "redis://me:s3cret@")
        with pytest.raises(FatalError, match="unknown command") as told:
            RedisLedger(url, window=WINDOW).check()
    told_in_full = "".join(traceback.format_exception(told.value))
    assert "'s3cret'" not in told_in_full
    assert "beginning with" not in told_in_full


@pytest.mark.parametrize("password", ["s3cret", "s3cret" * 40])
def test_no_error_of_a_call_shows_the_password(rig: OwnServer, password: str) -> None:
    url = rig.server.url.replace("redis://", f"redis://nobody:{password}@")
    with pytest.raises(FatalError) as told:
        RedisLedger(url, window=WINDOW).check()
    assert "s3cret" not in str(told.value)
    away = f"redis://nobody:{password}@127.0.0.1:{free_port()}/0"
    with pytest.raises(RetriableError) as told_away:
        RedisLedger(away, window=WINDOW).check()
    assert "s3cret" not in str(told_away.value)
