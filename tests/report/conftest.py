import pytest


@pytest.fixture(autouse=True)
def every_test_is_in_an_empty_folder(in_an_empty_folder: None) -> None: ...
