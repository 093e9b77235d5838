import pytest

from splat_uff.errors import LONGEST_REASON, reason_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (FileNotFoundError(2, "No such file or directory", "a/b"), "No such file or directory"),
        (OSError("no number"), "no number"),
        (EOFError(), "EOFError"),
        (ValueError("x" * 999), "x" * LONGEST_REASON),
    ],
)
def test_reason_of_is_a_few_words(error, reason):
    assert reason_of(error) == reason
