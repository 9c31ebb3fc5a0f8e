import pytest

from deploy.local.postgres_lines import PostgresLines

PREFIX = "2026-11-20 09:30:00.123 UTC [77] "


def shown(*texts: str) -> list[str]:
    lines = PostgresLines()
    return [line for text in texts if (line := lines.shown(text)) is not None]


def test_ordinary_lines_are_shown_without_their_time() -> None:
    assert shown(f"{PREFIX}LOG:  database system is ready to accept connections") == [
        "LOG:  database system is ready to accept connections"
    ]


@pytest.mark.parametrize(
    "message",
    [
        "FATAL:  the database system is starting up",
        "FATAL:  the database system is not yet accepting connections",
        "ERROR:  canceling statement due to user request",
        "FATAL:  terminating connection due to unexpected postmaster exit",
    ],
)
def test_what_the_run_itself_causes_is_for_the_file_alone_with_all_its_lines(message: str) -> None:
    assert shown(f"{PREFIX}{message}", f"{PREFIX}DETAIL:  why", "\tand more of it") == []


def test_another_process_between_the_lines_of_a_message_is_told_apart() -> None:
    other = PREFIX.replace("77", "78")
    assert shown(
        f"{PREFIX}FATAL:  the database system is not yet accepting connections",
        f"{other}ERROR:  duplicate key value",
        f"{PREFIX}DETAIL:  Consistent recovery state has not been yet reached.",
        f"{other}DETAIL:  Key (id)=(1) already exists.",
    ) == ["ERROR:  duplicate key value", "DETAIL:  Key (id)=(1) already exists."]


def test_a_recovery_is_one_line() -> None:
    assert shown(
        f"{PREFIX}LOG:  database system was interrupted; last known up at 2026-11-20 09:29:00 UTC",
        f"{PREFIX}LOG:  database system was not properly shut down; automatic recovery in progress",
        f"{PREFIX}LOG:  redo starts at 0/1A2B3C",
        f"{PREFIX}LOG:  redo done at 0/1A2B3D system usage: CPU: user: 0.00 s",
    ) == ["postgres is recovering (it was not shut down properly)"]


def test_lines_without_a_prefix_are_shown() -> None:
    assert shown("cannot run postgres: No such file or directory") == [
        "cannot run postgres: No such file or directory"
    ]
