"""TLS of the sidecar's listener, and what is wrong with the files for it."""

import ssl
from pathlib import Path

from eos.core.errors import ConfigError

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"
_ENCRYPTED = b"ENCRYPTED"
_NO_PASSWORD = ""


def context_of(
    cert_file: str | None, key_file: str | None, client_ca_file: str | None
) -> ssl.SSLContext | None:
    """Make what TLS of a listener needs.

    Args:
        cert_file: The certificate, and those between it and the root, as PEM; None: no TLS.
        key_file: Its private key as PEM, without a pass phrase.
        client_ca_file: Who signs clients' certificates, as PEM; then each must have one.
            None: none is asked for.

    Returns:
        The context, or None without TLS.

    Raises:
        ConfigError: With a sentence for each fault, which begins with the key.
    """
    _see_that_they_go_together(cert_file, key_file, client_ca_file)
    if cert_file is None or key_file is None:
        return None
    _read({"cert_file": cert_file, "key_file": key_file, "client_ca_file": client_ca_file})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        # With a password given, OpenSSL asks nobody for it at the terminal.
        context.load_cert_chain(cert_file, key_file, password=_NO_PASSWORD)
    except (OSError, ValueError) as error:
        raise ConfigError(
            [f"cert_file={cert_file!r} and key_file={key_file!r} are no pair: {_why(error)}"]
        ) from error
    if client_ca_file is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(client_ca_file)
        except (OSError, ValueError) as error:
            raise ConfigError(
                [f"client_ca_file={client_ca_file!r} holds no certificates: {_why(error)}"]
            ) from error
    return context


def _see_that_they_go_together(
    cert_file: str | None, key_file: str | None, client_ca_file: str | None
) -> None:
    if cert_file is not None and key_file is None:
        raise ConfigError([f"key_file: cert_file={cert_file!r} needs its private key"])
    if key_file is not None and cert_file is None:
        raise ConfigError([f"cert_file: key_file={key_file!r} needs its certificate"])
    if client_ca_file is not None and cert_file is None:
        raise ConfigError([f"client_ca_file={client_ca_file!r} needs cert_file and key_file, too"])


def _read(files: dict[str, str | None]) -> None:
    """See that each can be read, and holds what it should; OpenSSL does not say which is wrong."""
    faults = []
    for key, path in files.items():
        if path is None:
            continue
        try:
            held = Path(path).read_bytes()
        except (OSError, ValueError) as error:
            faults.append(f"{key}={path!r} cannot be read: {type(error).__name__}")
            continue
        wanted = _KEY if key == "key_file" else _CERTIFICATE
        if wanted not in held:
            what = "private key" if key == "key_file" else "certificate"
            faults.append(f"{key}={path!r}: it holds no {what} as PEM")
        elif key == "key_file" and _ENCRYPTED in held:
            faults.append(f"{key}={path!r}: give a key without a pass phrase")
    if faults:
        raise ConfigError(faults)


def _why(error: Exception) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    return reason.replace("_", " ").lower() if reason else "they are damaged"
