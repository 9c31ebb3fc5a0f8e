"""The passwords of the database's roles: made once, kept in the data folder, readable by its owner alone."""

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PASSWORDS_NAME = "passwords.json"


@dataclass(frozen=True, kw_only=True)
class Passwords:
    """Passwords by role, and the roles whose password was made just now."""

    by_role: Mapping[str, str] = field(repr=False)
    new: frozenset[str]


def read_passwords(folder: Path) -> dict[str, str]:
    """Return the kept passwords by role."""
    path = folder / PASSWORDS_NAME
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return kept


def keep_passwords(folder: Path, roles: Sequence[str]) -> Passwords:
    """Return a password for each of `roles`: the kept one, or a new one that is kept from now on."""
    path = folder / PASSWORDS_NAME
    kept = read_passwords(folder)
    missing = [role for role in roles if role not in kept]
    if missing:
        kept.update({role: secrets.token_urlsafe(24) for role in missing})
        unfinished = path.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(kept, file, indent=2)
        unfinished.replace(path)
    return Passwords(by_role={role: kept[role] for role in roles}, new=frozenset(missing))
