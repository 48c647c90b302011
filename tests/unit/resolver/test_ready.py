"""What is kept ready: found by key, forgotten on a change, bounded by bytes."""

from resolver.ready import Fragment, Ready


def _fragment(data: bytes = b"data") -> Fragment:
    return Fragment(data=data, authoritative=True, since=0.0, ttl_ends=60.0, until=60.0)


def test_a_change_drops_the_key_from_every_encoding() -> None:
    ready = Ready()
    table = ready.table("grpc")
    for encoding in ("grpc", "handle"):
        ready.put(encoding, "A/1", _fragment(), mark=ready.mark())
        ready.put(encoding, "A/2", _fragment(), mark=ready.mark())

    ready.drop("A/1")

    assert ready.get("grpc", "A/1") is None
    assert ready.get("handle", "A/1") is None
    assert list(table) == ["A/2"]
    assert len(ready) == 2


def test_what_was_read_before_a_change_is_not_kept_after_it() -> None:
    ready = Ready()
    before = ready.mark()
    ready.drop("A/1")
    ready.put("grpc", "A/1", _fragment(), mark=before)
    ready.put("grpc", "A/2", _fragment(), mark=before)
    ready.put("grpc", "A/3", _fragment(), mark=ready.mark())
    ready.clear()
    ready.put("grpc", "A/4", _fragment(), mark=before)

    assert len(ready) == 0
    ready.put("grpc", "A/1", _fragment(), mark=ready.mark())
    assert ready.get("grpc", "A/1") == _fragment()


def test_the_table_is_bounded_by_bytes_and_the_oldest_goes_first() -> None:
    ready = Ready(max_bytes_per_encoding=10_000)
    for number in range(20):
        ready.put("grpc", f"A/{number:03}", _fragment(b"x" * 1000), mark=0)
    ready.put("grpc", "A/BIG", _fragment(b"x" * 10_001), mark=0)

    assert list(ready.table("grpc")) == [f"A/{number:03}" for number in range(13, 20)]


def test_putting_again_replaces_and_is_counted_once() -> None:
    ready = Ready(max_bytes_per_encoding=1000)
    for _ in range(100):
        ready.put("grpc", "A/1", _fragment(b"x" * 500), mark=0)
    ready.put("handle", "A/1", _fragment(b"x" * 500), mark=0)

    assert len(ready) == 2


def test_marks_older_than_the_memory_of_changes_are_void() -> None:
    ready = Ready()
    before = ready.mark()
    for number in range(100_001):
        ready.drop(f"A/{number}")
    ready.put("grpc", "B/1", _fragment(), mark=before)

    assert len(ready) == 0
