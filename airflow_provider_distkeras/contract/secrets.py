"""What must not be seen: credentials in URIs, and the values of secret properties and variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

#: A user and a password: in an object store's URI, where a colon begins no port, and in another one; a user alone where it may
#: be a token; and a signature.
_CREDENTIALS = (
    r"(?<![\w+.-])(?:s3[an]?|gs)://[^/@]*(?:@|:[^@]*@)"
    r"|(?<![\w+.-])[a-z][\w+.-]*://[^/@]*:(?!\d+(?:[/,?#\s]|$))[^@]*@"
    r"|(?<![\w+.-])(?:https?|ftps?)://[^/@\s]+@"
    r"|[?&](?:sig|signature|(?:access_)?token|x-(?:amz|goog)-signature)="
)
#: What Spark hides by itself, in names as in values.
_SPARK = r"secret|password|token|access[.]?key"
#: Further names: of keys and signatures of stores, and of OpenLineage's log-ins.
_NAMES = (
    r"passphrase|passwd|(?:access|account|api|encryption|private|shared|storage)[._-]?key"
    r"|connection[._-]?string|credential(?!s?[.]provider)|authorization|[._](?:pwd|pass)$|fs[.]azure[.]sas[.]"
    r"|spark[.]openlineage[.]transport[.](?:.*[.])?(?:auth[.](?!type$)|headers[.])"
)
#: All of it, as spark.redaction.regex takes it, which is Java's.
SECRET = f"(?i){_SPARK}|{_NAMES}|{_CREDENTIALS}"

_credentials = re.compile(f"(?i){_CREDENTIALS}")
_secret_name = re.compile(f"(?i){_SPARK}|{_NAMES}")
_secret_value = re.compile(f"(?i){_SPARK}|accountkey=|{_CREDENTIALS}")
_PASSWORD = re.compile(r"://[^/@\s]*?:([^@\s]+)@")
_JAVA_OPTION = re.compile(r"""-D([^\s=]+)=("[^"]*"|'[^']*'|\S+)""")


def holds_credentials(text: str) -> bool:
    """Return whether a text holds a URI with a password or a signature."""
    return _credentials.search(unquote(text)) is not None


def is_secret(name: str, value: str) -> bool:
    """Return whether the value of a property or variable must not be seen, by its name or by what it holds."""
    if _secret_name.search(name) or _secret_value.search(unquote(value)):
        return True
    return any(_secret_name.search(option) for option, _ in _JAVA_OPTION.findall(value))


def secret_texts(value: str) -> Iterator[str]:
    """Yield the texts to hide of a secret value: itself, and the passwords in its URIs and Java options."""
    yield value
    yield from _PASSWORD.findall(value)
    yield from (option.strip("\"'") for name, option in _JAVA_OPTION.findall(value) if is_secret(name, option))
