"""Settings in the environment, and in the file that it names."""

from pathlib import Path

import pytest

from eos.core.errors import ConfigError
from eos.doors.environment import client_settings, from_environment


def test_each_line_of_the_file_is_a_setting_of_the_client(tmp_path: Path) -> None:
    file = tmp_path / "client.properties"
    file.write_text("# log in\n\nsasl.username = app\nsasl.password=a=b # c\nssl.ca.pem=\n")
    wanted = {"sasl.username": "app", "sasl.password": "a=b # c", "ssl.ca.pem": ""}
    assert client_settings(str(file)) == wanted
    assert from_environment({"EOS_KAFKA": str(file)}) == ({"kafka": wanted}, [])


def test_a_line_that_is_no_setting_is_named_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "client.properties"
    file.write_text("security.protocol=SASL_SSL\nsecret\n=secret\n")
    with pytest.raises(ConfigError) as caught:
        client_settings(str(file))
    assert [fault.split(":")[0].split(", ")[1] for fault in caught.value.faults] == [
        "line 2",
        "line 3",
    ]
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_file_that_cannot_be_read_is_a_fault_beside_the_others(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "client.properties"
    if content is not None:
        file.write_bytes(content)
    found, faults = from_environment({"EOS_KAFKA": str(file), "EOS_RETRIES": "many"})
    assert not found
    assert len(faults) == 2
    assert f"EOS_KAFKA: {str(file)!r} cannot be read" in faults[0]
