"""Write gen/ from protos/: Python modules, typed stubs, the gateway's descriptor set, the OpenAPI document.

    python -m tools.generate                 write gen/
    python -m tools.generate --output DIR    write the same files under DIR instead
    python -m tools.generate --check         write nothing; exit 1 and name each stale file of gen/

No network is needed: Google's annotations are in protos/third_party, its error messages in the installed
package googleapis-common-protos.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tools.openapi import build_document

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
THIRD_PARTY = PROTOS / "third_party"
GENERATED = ROOT / "gen"
DESCRIPTORS = Path("descriptors/api.binpb")
OPENAPI = Path("openapi/openapi.json")
ERROR_PROTOS = ("google/rpc/status.proto", "google/rpc/error_details.proto")
"""None of ours imports them; without them in the descriptor set the gateway leaves error details out."""

_OWN_IMPORT = re.compile(r"^(from|import) (campaigns|inference)\b", re.MULTILINE)
_OWN_NAME = re.compile(r"(?<![\w.])(campaigns|inference)((?:\.\w+)*\.\w+_pb2)\b")


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.generate", description=__doc__.split("\n")[0])
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--output", type=Path, default=GENERATED, help="folder to write (default: gen)")
    choice.add_argument("--check", action="store_true", help="only compare gen/ with what would be written")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "gen"
        generate(fresh)
        if not options.check:
            replace_folder(fresh, options.output)
            return 0
        stale = compare_folders(fresh, GENERATED)
    for line in stale:
        print(line, file=sys.stderr)
    return 1 if stale else 0


def generate(output: Path) -> None:
    """Write every generated file under `output`, which must not exist."""
    (output / DESCRIPTORS).parent.mkdir(parents=True)
    _run_protoc(
        f"--python_out={output}",
        f"--plugin=protoc-gen-mypy={tool_script('protoc-gen-mypy')}",
        f"--mypy_out=quiet:{output}",
        *proto_files(),
    )
    _run_protoc(
        f"--grpc_python_out={output}",
        f"--plugin=protoc-gen-mypy_grpc={tool_script('protoc-gen-mypy_grpc')}",
        f"--mypy_grpc_out=quiet,generate_concrete_servicer_stubs,only_async:{output}",
        *(path for path in proto_files() if path.endswith("_service.proto")),
    )
    _run_protoc(
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={output / DESCRIPTORS}",
        *proto_files(),
        *ERROR_PROTOS,
    )
    write_openapi(output / OPENAPI, output / DESCRIPTORS)
    for path in (*output.rglob("*.py"), *output.rglob("*.pyi")):
        path.write_text(root_imports(path.read_text()))


def write_openapi(path: Path, descriptor_set: Path) -> None:
    """Write to `path` the OpenAPI document of a descriptor set."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    document = build_document(
        FileDescriptorSet.FromString(descriptor_set.read_bytes()),
        title="Campaign Optimization System",
        version=project["version"],
    )
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def proto_files() -> list[str]:
    """Return the paths of our own proto files, relative to protos/, in a fixed order."""
    own = (path for path in PROTOS.rglob("*.proto") if not path.is_relative_to(THIRD_PARTY))
    return sorted(str(path.relative_to(PROTOS)) for path in own)


def root_imports(source: str) -> str:
    """Return generated Python with imports of our own modules starting at `gen`."""
    imported = _OWN_IMPORT.sub(r"\1 gen.\2", source)
    return _OWN_NAME.sub(r"gen.\1\2", imported)


def replace_folder(fresh: Path, output: Path) -> None:
    """Put the content of `fresh` in the place of `output`."""
    if output.exists():
        shutil.rmtree(output)
    shutil.copytree(fresh, output)


def compare_folders(fresh: Path, kept: Path) -> list[str]:
    """Return one line per file of `kept` that is missing, differs from `fresh`, or should not be there."""
    wanted, present = set(_files_under(fresh)), set(_files_under(kept))
    lines = [f"missing: {path}" for path in wanted - present]
    lines += [f"not generated: {path}" for path in present - wanted]
    lines += [
        f"differs: {path}"
        for path in wanted & present
        if (fresh / path).read_bytes() != (kept / path).read_bytes()
    ]
    return sorted(lines)


def _files_under(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(folder)


def _run_protoc(*arguments: str) -> None:
    folders = (PROTOS, THIRD_PARTY / "googleapis", _package_folder("google.rpc"))
    command = [sys.executable, "-m", "grpc_tools.protoc", *(f"-I{folder}" for folder in folders)]
    subprocess.run([*command, *arguments], check=True)


def _package_folder(name: str) -> Path:
    """Return the folder on the path that holds the package `name`."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{name} is not installed: install requirements/gen.txt")
    folder = Path(next(iter(spec.submodule_search_locations)))
    return folder.parents[len(name.split(".")) - 1]


def tool_script(name: str) -> Path:
    """Return the path of a program that is installed beside the running Python."""
    return Path(sys.executable).parent / name


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
