"""The configuration of a sidecar: all its faults at once, and no secret in any."""

from pathlib import Path
from typing import Any

import pytest

import eos
from eos.core.errors import ConfigError
from eos.core.record import Record
from eos.doors.sidecar.config import Config, Listen, key_of, token_of
from eos.doors.sidecar.config.reading import read
from eos.doors.sidecar.config.shown import shown

GOOD = """
[kafka]
group = "g"
brokers = "b:1"
[ledger]
url = "redis://r"
[app]
url = "http://127.0.0.1:8080/in"
[[deliver]]
topic = "orders"
"""
SECRET = "very-secret"  # noqa: S105 a test's own


def config(folder: Path, text: str = GOOD, **variables: str) -> Config:
    file = folder / "eos.toml"
    file.write_text(text, encoding="utf-8")
    return read(str(file), variables)


def faults(folder: Path, text: str, **variables: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        config(folder, text, **variables)
    return caught.value.faults


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    made = config(tmp_path)
    assert made.app is not None
    assert (made.app.timeout, made.app.concurrency, made.app.token_file) == (30.0, 32, None)
    assert made.listen == Listen()
    assert (made.listen.address, made.listen.max_body) == ("127.0.0.1:7070", 1 << 20)
    assert made.listen.timeout == 10.0
    (deliver,) = made.deliver
    assert (deliver.to, deliver.mode, deliver.path, deliver.batch) == (None, "binary", "", 100)
    assert (made.settings.window, made.settings.retries) == ("24h", 3)


def test_the_environment_wins(tmp_path: Path) -> None:
    made = config(
        tmp_path,
        EOS_GROUP="other",
        EOS_APP_URL="unix:///run/app.sock",
        EOS_APP_CONCURRENCY="7",
        EOS_LISTEN_MAX_BODY="2MiB",
        EOS_LISTEN_TIMEOUT="3s",
        EOS_DELIVER_TO="receipts",
        EOS_RETRIES="9",
    )
    assert (made.settings.group, made.settings.retries) == ("other", 9)
    assert made.app is not None
    assert (made.app.url, made.app.concurrency) == ("unix:///run/app.sock", 7)
    assert (made.listen.max_body, made.listen.timeout) == (2 << 20, 3.0)
    assert (made.deliver[0].topic, made.deliver[0].to) == ("orders", "receipts")


FAULTS: dict[str, tuple[str, str]] = {
    'group = "g"': ("", "[kafka] group: name"),
    'brokers = "b:1"': ('brokers = "b"', "[kafka] brokers='b'"),
    'url = "redis://r"': ('url = "mysql://r"', "[ledger] url: ledger='mysql://"),
    "[ledger]": ("[ledgre]", "do you mean ledger?"),
    'topic = "orders"': ('topik = "orders"', "do you mean topic?"),
    "[[deliver]]": ('[[deliver]]\nmode = "xml"', "mode='xml': choose one of"),
    "[app]": ('[app]\ntimeout = "soon"', "[app] timeout='soon'"),
    "http://127.0.0.1:8080/in": ("http://me:pw@h/", "[app] url: write"),
    "8080": ("99999", "[app] url"),
    "/in": ("/in#x", "[app] url"),
}


@pytest.mark.parametrize(("old", "change"), FAULTS.items(), ids=FAULTS)
def test_a_fault_is_named(tmp_path: Path, old: str, change: tuple[str, str]) -> None:
    new, want = change
    assert any(want in fault for fault in faults(tmp_path, GOOD.replace(old, new)))


@pytest.mark.parametrize(
    ("more", "want"),
    [
        ("[app.x]", "[app] x: there is no such key"),
        (
            '[listen]\naddress = "0.0.0.0:7070"',
            "is more than loopback: give token_file or client_ca_file, too",
        ),
        ('[listen]\naddress = "example.org:7070"', "is more than loopback"),
        ('[listen]\naddress = "[::]:7070"', "is more than loopback"),
        ('[listen]\naddress = "localhost"', "write host:port"),
        ('[listen]\naddress = "unix:"', "write host:port"),
        ("[listen]\naddress = 7070", "write host:port"),
        ('[listen]\nmax_body = "much"', "write bytes"),
        ('[listen]\ntoken_file = "/nowhere"', "[listen] token_file='/nowhere' cannot be read"),
        ("[listen]\ntoken_file = 7", "[listen] token_file=7: write the path"),
        ('[listen]\ntimeout = "0s"', "[listen] timeout='0s': write a duration"),
        ('[listen]\ntimeout = "6m"', "[listen] timeout='6m': write a duration"),
        ("[listen]\ntimeout = []", "[listen] timeout=[]: write a duration"),
        ('[listen]\nkey_fil = "x"', "do you mean key_file?"),
        ('[listen]\ncert_file = "c"', "[listen] key_file: cert_file='c' needs"),
        ('[listen]\nkey_file = "k"', "[listen] cert_file: key_file='k' needs"),
        ('[listen]\nclient_ca_file = "a"', "[listen] client_ca_file='a' needs cert_file and"),
        ('[listen]\ncert_file = "/no"\nkey_file = "/no"', "[listen] cert_file='/no' cannot be"),
        ('[listen]\ncert_file = "/no"\nkey_file = "/no"', "[listen] key_file='/no' cannot be"),
        ('[[deliver]]\ntopic = "orders"', "topic='orders': one of them"),
        ("[[deliver]]\ntopic = 7", "topic=7: write a text"),
        ('[[deliver]]\ntopic = "a"\npath = "x y"', "begin with /"),
        ('[[deliver]]\ntopic = "a"\nkey = "cookie:x"', "write header:NAME"),
        ('[[deliver]]\ntopic = "a"\nbatch = 0', "batch=0: write 1 to"),
        ("[kafka.settings]\nacks = 0", "acks"),
        ('[kafka.settings]\n"group.id" = "x"', "give `group`"),
    ],
)
def test_more_faults_are_named(tmp_path: Path, more: str, want: str) -> None:
    assert any(want in fault for fault in faults(tmp_path, f"{GOOD}\n{more}\n"))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = '[kafka]\nretires = 1\n[app]\nurl = 7\nin_doubt = "reconcile"\n'
    found = faults(tmp_path, text, EOS_RETRIES="x", EOS_APP_TIMEOUT="0s")
    for want in ("retires", "EOS_RETRIES", "[app] url", "timeout", "group", "brokers", "deliver"):
        assert any(want in fault for fault in found), (want, found)


def test_no_secret_is_told(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(SECRET, encoding="ascii")
    text = GOOD.replace("redis://r", f"redis://u:{SECRET}@r").replace(
        "[app]", f'[app]\ntoken_file = "{token}"'
    )
    text += (
        f'[kafka.settings]\n"sasl.password" = "{SECRET}"\nssl.key.pem = "{SECRET}"\n'
        f'[listen]\naddress = "0.0.0.0:1"\ntoken_file = "{token}"\n'
    )
    made = config(tmp_path, text, EOS_SECRET=SECRET)
    assert made.settings.kafka["ssl.key.pem"] == SECRET
    assert SECRET not in shown(made)
    for wrong in (text.replace("topic", "topik"), text.replace("redis:", "mysql:")):
        assert SECRET not in str(faults(tmp_path, wrong, EOS_SECRET=SECRET))
    assert SECRET not in str(faults(tmp_path, text, EOS_APP_URL=f"http://u:{SECRET}@h/"))


@pytest.mark.parametrize("content", ["", "two words", "two\nlines", "\x00", "é"])
def test_a_token_is_one_word(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="one word"):
        token_of(str(tmp_path / "token"))


def test_what_is_shown_can_be_read_again(tmp_path: Path) -> None:
    made = config(tmp_path, GOOD + 'to = "out"\nkey = "json:$.id"\n', EOS_WINDOW="2h")
    assert config(tmp_path, shown(made)) == made


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("header:id", b"of the header"),
        ("json:a.b", b"of the payload"),
        ("payload-hash", eos.payload_hash()),
        ("cloudevent", eos.cloudevent()),
    ],
)
def test_a_key_is_read_from_where_it_is_said(text: str, key: Any) -> None:
    headers = [("id", b"of the header"), ("ce_source", b"source"), ("ce_id", b"id")]
    record = Record("t", "i", 0, 0, None, b'{"a": {"b": "of the payload"}}', headers, 0)
    reader = key_of(text)
    assert reader is not None
    assert reader(record) == (key(record) if callable(key) else key)


def test_no_key_means_the_default() -> None:
    assert key_of(None) is None
