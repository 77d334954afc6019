import pytest

from emotion_lightning.report.duration import duration


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        *((0.44, "0.4 s"), (59.96, "1 min 0 s"), (125, "2 min 5 s"), (3599.7, "1 h 0 min"), (9000, "2 h 30 min")),
        *((172799, "2 d 0 h"), (172800, "2 d 0 h"), (300000, "3 d 11 h")),
    ],
)
def test_a_time_is_said_in_two_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said
