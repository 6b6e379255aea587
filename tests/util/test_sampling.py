from util.sampling import evenly_spaced, first_of_parts


def test_the_first_and_the_last_of_many_are_among_a_few():
    assert evenly_spaced(101, 5) == [0, 25, 50, 75, 100]
    assert evenly_spaced(10, 3) == [0, 4, 9]


def test_few_are_all_taken_once():
    assert evenly_spaced(3, 8) == [0, 1, 2]
    assert evenly_spaced(1, 8) == [0]
    assert evenly_spaced(0, 8) == []


def test_each_of_some_equal_parts_gives_its_first():
    assert first_of_parts(10, 4) == [0, 2, 5, 7]
    assert first_of_parts(3, 5) == [0, 1, 2] and first_of_parts(0, 4) == []
