import zlib

from eos.claim.digest import DIGEST_SIZE, Digest, fingerprint


def test_a_digest_has_twelve_bytes_and_is_the_same_each_time() -> None:
    digest = Digest(b"secret")
    assert len(digest(b"order-1")) == DIGEST_SIZE == 12
    assert digest(b"order-1") == digest(b"order-1") == Digest(b"secret")(b"order-1")


def test_digests_never_change_between_versions() -> None:
    # They lie in ledgers and audits: another digest means that nothing was ever seen.
    assert Digest(b"secret")(b"order-1").hex() == "1018cb8f4dad5df6d3228f02"
    assert Digest(b"secret", b"partition-7")(b"order-1").hex() == "fe1a11060b7a623809bbe822"


def test_another_key_another_secret_or_another_scope_gives_another_digest() -> None:
    digests = {
        Digest(b"secret")(b"order-1"),
        Digest(b"secret")(b"order-2"),
        Digest(b"secret")(b""),
        Digest(b"other")(b"order-1"),
        Digest(b"secret", b"0")(b"order-1"),
        Digest(b"secret", b"1")(b"order-1"),
    }
    assert len(digests) == 6


def test_secrets_and_scopes_of_any_length_count_in_full() -> None:
    long, longer = b"s" * 65, b"s" * 66
    assert Digest(long)(b"key") != Digest(longer)(b"key")
    assert Digest(b"secret", long)(b"key") != Digest(b"secret", longer)(b"key")


def test_a_tombstone_is_another_payload_than_an_empty_one() -> None:
    assert fingerprint(None) != fingerprint(b"")


def test_a_fingerprint_is_the_crc32_of_the_payload() -> None:
    assert fingerprint(b"payload") == zlib.crc32(b"payload")
