"""Files are grouped by what a regular expression finds in their paths."""

from pathlib import PurePath

from conftest import refusal

from util.split_groups import group_of, group_pattern, shared_groups


def test_a_group_is_the_parentheses_that_take_part_else_all() -> None:
    one_of_two = group_pattern(r"patient(\d+)|p(\d+)_")
    assert group_of(PurePath("a/patient7.png"), one_of_two) == "7"
    assert group_of(PurePath("a/p12_3.png"), one_of_two) == "12"
    assert group_of(PurePath("a/p12_3.png"), group_pattern(r"p\d+")) == "p12"
    refusal(
        lambda: group_of(PurePath("a/3.png"), one_of_two), "--group", "finds nothing in a/3.png"
    )
    refusal(lambda: group_pattern("("), "--group (", "no regular expression")


def test_groups_of_several_parts_are_named_with_them() -> None:
    parts = {"train": ["1", "2", "2"], "val": ["3"], "test": ["2", "3"]}
    assert shared_groups(parts) == {"2": ["train", "test"], "3": ["val", "test"]}
