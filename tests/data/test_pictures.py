"""Which of a user's picture files are read, and in which order."""

from pipeline.data import pictures


def test_the_pictures_of_a_folder_come_in_natural_order(tmp_path):
    names = ["2b.png", "digit1.png", "digit2.png", "digit2_a.png", "digit010.png", "digit10.png", "x.png"]
    for name in (*reversed(names), "digit3.txt"):
        (tmp_path / name).touch()
    for place in (tmp_path, tmp_path / "*.png"):
        assert [path.name for path in pictures.listed((str(place),))] == names


def test_hidden_files_of_a_folder_are_no_pictures(tmp_path):
    for name in ("a.jpg", "._a.jpg"):
        (tmp_path / name).touch()
    assert pictures.listed((str(tmp_path),)) == [tmp_path / "a.jpg"]
