"""Refuses variables on make's command line that nothing reads: `variables.py NAME...`.

A mistyped setting would silently be the default. Run by make before there is an environment, so only the
standard library is at hand: the settings are read out of the source of the classes that declare them.
"""

import ast
import difflib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
RUN_SETTINGS = REPOSITORY / "deploy" / "local" / "settings.py"
COMMON_SETTINGS = REPOSITORY / "services" / "common" / "settings.py"

# What make itself, the programs beneath, and `make psql` read.
OTHERS = ("ARGS", "ENVOY_BIN", "MAKEFLAGS", "PG_BIN", "PYTHON", "ROLE", "SHARED_DATA_DIR", "SHELL")
PREFIXES = ("PIP_", "PYTHON", "UV_")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
_NEAR = 0.75


def main(names: Sequence[str]) -> int:
    """Return 2 after a line for each of `names` that is no setting, else 0."""
    known = known_variables()
    wrong = [name for name in names if not _is_known(name, known)]
    for name in wrong:
        near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=_NEAR)
        meant = f"is {near[0]} meant? " if near else ""
        print(f"{name} is no setting: {meant}`make run-help` lists them", file=sys.stderr)
    return 2 if wrong else 0


def known_variables() -> list[str]:
    """Return every variable that make may be given."""
    shared: dict[str, list[str]] = {}
    for node in _classes(COMMON_SETTINGS):
        shared[node.name] = [*_inherited(node, shared), *_declared(node)]
    known = {*OTHERS, *PROXIES, *(name for node in _classes(RUN_SETTINGS) for name in _declared(node))}
    for path in sorted((REPOSITORY / "services").glob("*/settings.py")):
        if path != COMMON_SETTINGS:
            for node in _classes(path):
                known |= {*_declared(node), *(f"{_prefix(node)}{name}" for name in _inherited(node, shared))}
    return sorted(known)


def _is_known(name: str, known: Sequence[str]) -> bool:
    return name in known or name.upper() in PROXIES or name.startswith(PREFIXES)


def _classes(path: Path) -> Sequence[ast.ClassDef]:
    return [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]


def _inherited(node: ast.ClassDef, shared: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield the settings, without a prefix, of the shared classes that a class is one of."""
    for base in node.bases:
        if isinstance(base, ast.Name):
            yield from shared.get(base.id, ())


def _declared(node: ast.ClassDef) -> Iterator[str]:
    """Yield the variable of each setting that a class declares itself."""
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            alias = next((text for text in _keywords(statement, "validation_alias")), None)
            yield alias or f"{_prefix(node)}{statement.target.id}".upper()


def _prefix(node: ast.ClassDef) -> str:
    return next((text for text in _keywords(node, "env_prefix")), "")


def _keywords(node: ast.AST, name: str) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.keyword) and inner.arg == name and isinstance(inner.value, ast.Constant):
            yield str(inner.value.value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
