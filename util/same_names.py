"""Names that are two files on one file system and one file on another."""

import unicodedata


def name_key(name: str) -> str:
    """Return a key that is equal for names that Windows or macOS takes for one: A and a, é and é.

    The second é is e and a combining accent.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
