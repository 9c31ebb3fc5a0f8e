"""gen/ is what `make gen` writes, and buf agrees with the protos it is written from."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tools import check_breaking, generate


def test_generated_files_are_current(tmp_path: Path) -> None:
    fresh = tmp_path / "gen"

    generate.generate(fresh)

    assert generate.compare_folders(fresh, generate.GENERATED) == []


def test_comparison_names_every_difference(tmp_path: Path) -> None:
    fresh, kept = tmp_path / "fresh", tmp_path / "kept"
    for folder, files in (
        (fresh, {"same": "1", "other": "1", "new": "1"}),
        (kept, {"same": "1", "other": "2", "old": "1"}),
    ):
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)

    assert generate.compare_folders(fresh, kept) == ["differs: other", "missing: new", "not generated: old"]


@pytest.mark.parametrize(
    ("line", "rooted"),
    [
        (
            "from campaigns.type.v1 import range_pb2 as campaigns_dot_type_dot_v1_dot_range__pb2",
            "from gen.campaigns.type.v1 import range_pb2 as campaigns_dot_type_dot_v1_dot_range__pb2",
        ),
        ("from inference import grpc_service_pb2", "from gen.inference import grpc_service_pb2"),
        ("from google.protobuf import message", "from google.protobuf import message"),
        ("'campaigns.analytics.v1.metrics_pb2'", "'gen.campaigns.analytics.v1.metrics_pb2'"),
        (
            "'/campaigns.analytics.v1.CatalogService/ListUsers'",
            "'/campaigns.analytics.v1.CatalogService/ListUsers'",
        ),
    ],
)
def test_only_imports_of_our_own_modules_are_rooted(line: str, rooted: str) -> None:
    assert generate.root_imports(line) == rooted


def test_buf_lint_is_clean() -> None:
    done = subprocess.run(
        [generate.tool_script("buf"), "lint", generate.PROTOS], check=False, capture_output=True, text=True
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_buf_format_is_kept() -> None:
    done = subprocess.run(
        [generate.tool_script("buf"), "format", "--diff", "--path", "campaigns", "--path", "inference", "."],
        cwd=generate.PROTOS,
        check=True,
        capture_output=True,
        text=True,
    )

    assert done.stdout == ""


def test_nothing_breaks_callers_of_the_last_release() -> None:
    if check_breaking.last_release(generate.ROOT) is None:
        pytest.skip(f"breaking changes: {check_breaking.why_no_release(generate.ROOT)}")

    assert check_breaking.main() == 0


def test_a_breaking_change_is_found(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    changed = tmp_path / "protos"
    shutil.copytree(generate.PROTOS, changed)
    metrics = changed / "campaigns/analytics/v1/metrics.proto"
    metrics.write_text(metrics.read_text().replace("int64 impressions = 4;", "string impressions = 4;"))

    status = check_breaking.run_buf_breaking(changed, against=str(generate.PROTOS))

    assert status != 0
    assert 'Field "4" with name "impressions" on message "CampaignMetrics"' in capfd.readouterr().out


def test_releases_are_found_by_their_tags(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "first")
    assert check_breaking.last_release(tmp_path) is None
    assert check_breaking.why_no_release(tmp_path) == "nothing was released yet"

    git("tag", "v0.1.0")
    git("tag", "other")
    git("commit", "--quiet", "--allow-empty", "--message", "second")
    assert check_breaking.last_release(tmp_path) == "v0.1.0"


def test_a_shallow_clone_says_so(tmp_path: Path) -> None:
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    identity = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "init", "--quiet", origin], check=True)
    for message in ("first", "second"):
        subprocess.run(
            ["git", "-C", origin, *identity, "commit", "--quiet", "--allow-empty", "--message", message],
            check=True,
        )
    subprocess.run(["git", "clone", "--quiet", "--depth=1", f"file://{origin}", clone], check=True)

    assert check_breaking.why_no_release(clone) == "this clone is shallow and has no release tag"
