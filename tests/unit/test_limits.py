"""Token buckets and counts within a window."""

from gateway.limits import Recent, TokenBucket


def test_a_burst_is_let_through_and_no_more() -> None:
    bucket = TokenBucket(5, 0.2, 100.0)
    assert [bucket.take(100.0) for _ in range(5)] == [0] * 5
    assert bucket.take(100.0) == 5000


def test_waiting_as_long_as_told_is_enough() -> None:
    bucket = TokenBucket(1, 6.0, 0.0)
    assert bucket.take(0.0) == 0
    retry_after_ms = bucket.take(0.0)
    assert bucket.take(retry_after_ms / 1000 + 0.001) == 0


def test_a_clock_that_steps_back_gives_nothing() -> None:
    bucket = TokenBucket(1, 1.0, 10.0)
    assert bucket.take(10.0) == 0
    assert bucket.take(5.0) > 0


def test_the_twentieth_within_a_minute_is_noticed() -> None:
    recent = Recent(20, 60.0)
    assert not any(recent.add(float(i)) for i in range(19))
    assert recent.add(19.0)


def test_what_is_longer_ago_does_not_count() -> None:
    recent = Recent(2, 60.0)
    assert not recent.add(0.0)
    assert not recent.add(61.0)
    assert recent.add(62.0)
