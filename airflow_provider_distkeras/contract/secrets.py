"""What must not be seen: credentials in URIs, and the values of secret properties, variables, parameters and options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

#: A user and a password: in an object store's URI, where a colon begins no port; in another one, whose host may be an IPv6
#: address; in Oracle's; and a user alone where it may be a token.
_USERS = (
    r"(?<![\w+.-])(?:s3[an]?|gs)://[^/@]*(?:@|:[^@]*@)"
    r"|(?<![\w+.-])[a-z][\w+.-]*://(?!\[[\w:.%]+\](?::\d+)?(?:[/,?#\s]|$))[^/@]*:(?!\d+(?:[/,?#\s]|$))[^@]*@"
    r"|jdbc:oracle:\w+:[^/@\s]+/[^@\s]+@"
    r"|(?<![\w+.-])(?:git[+])?(?:https?|ftps?)://[^/@\s]+@"
)
#: What Spark hides by itself, in names as in values.
_SPARK = r"secret|password|token|access[.]?key"
#: Further names: of keys and signatures, but not of what is about keys; and of OpenLineage's log-ins.
_NAMES = (
    r"passphrase|passwd|connection[._-]?string"
    r"|account[._-]?key(?!provider)"  # before the name of an account, which may be any
    r"|(?:access|api|encryption|fernet|license|master|private|shared|signing|storage|subscription)[._-]?key"
    r"(?![._-]?(?:file|gen[.]|length|material|path|provider|size|type))"
    r"|(?<!renewal[.])credential(?!s?[.](?:file|provider|renewal|retry|.*enabled$))"
    r"|(?<!azure[.])(?<!metastore[.])(?<!security[.])authorization(?![._-]provider)"
    r"|(?:(?:pg|db|[._-])(?:pwd|pass)|jwt)(?=$|=)|fs[.]azure[.]sas[.]"
    r"|spark[.]openlineage[.]transport[.](?:.*[.])?(?:auth[.](?!type$)|headers[.])"
)
#: Parameters of a URI whose names say little elsewhere.
_PARAMETER = r"[?&;#](?:(?:x-(?:amz|goog)-)?signature|sig|code|auth|key|pwd|pass)="
_VALUES = rf"{_USERS}|{_PARAMETER}|bearer\s+[\w.~+/-]{{8,}}"
#: All of it, as spark.redaction.regex takes it, which is Java's.
SECRET = f"(?i){_SPARK}|{_NAMES}|{_VALUES}"

_users = re.compile(f"(?i){_USERS}")
_secret_name = re.compile(f"(?i){_SPARK}|{_NAMES}")
_secret_parameter = re.compile(f"(?i){_PARAMETER}")
_secret_value = re.compile(f"(?i){_SPARK}|{_VALUES}")
#: What turns something on or off, or is nothing, is no secret, whatever its name.
_SWITCH = re.compile(r"(?i)\s*(?:true|false|none)?\s*")
_PASSWORD = re.compile(r"://[^/@\s]*?:([^@\s]+)@")
#: A parameter of a URI, or an option of Java or of an agent; the next one may stand in its value.
_ASSIGNMENT = re.compile(r"""([?&;#]?)([\w.-]+)=(?=("[^"]*"|'[^']*'|\S+))""")
_NEXT_PATH = re.compile(r"(?i),(?=\s*(?:/|[a-z][\w+.-]*:))")
#: In a local path, ?, # and ; are wildcards and letters.
_REMOTE = re.compile(r"(?i)[\s{]*(?!file:)[a-z][\w+.-]*:/")


def holds_credentials(paths: str) -> bool:
    """Return whether a path or URI, or one of several with commas between them, holds a password, a token or a signature."""
    text = unquote(paths)
    remote = [path for path in _NEXT_PATH.split(text) if _REMOTE.match(path)]
    return _users.search(text) is not None or any(mark for path in remote for mark, _ in _assigned(path))


def is_secret(name: str, value: str, more: re.Pattern[str] | None = None) -> bool:
    """Return whether the value of a property or variable must not be seen, by its name or by what it holds.

    Args:
        name: The name.
        value: The value.
        more: A further pattern of secrets, in names as in values.
    """
    if _SWITCH.fullmatch(value):
        return False
    if more is not None and (more.search(name) or more.search(value)):
        return True
    text = unquote(value)
    return bool(_secret_name.search(name) or _secret_value.search(text) or any(_assigned(text)))


def secret_texts(value: str) -> list[str]:
    """Return the texts to hide of a secret value: itself, and the passwords in its URIs, parameters and options."""
    assigned = [text for _, text in _assigned(value)]
    texts = [value, *_PASSWORD.findall(value), *assigned, *(re.split("[&;#,]", text)[0] for text in assigned)]
    return [text for text in dict.fromkeys(texts) if not _SWITCH.fullmatch(text)]


def _assigned(text: str) -> Iterator[tuple[str, str]]:
    """Yield the secret values among a text's parameters and options, each after the mark that begins a parameter, if any."""
    for mark, name, quoted in _ASSIGNMENT.findall(text):
        value = quoted.strip("\"'")
        if (_secret_name.search(name) or _secret_parameter.search(f"{mark}{name}=")) and not _SWITCH.fullmatch(value):
            yield mark, value
