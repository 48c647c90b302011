import os
import stat

import pytest

from node.accounts.secret_files import SecretHash, load_or_create, new_secret
from registry.errors import UnavailableError


def test_a_secret_is_made_once_and_only_its_owner_may_read_it(tmp_path):
    path = tmp_path / "secrets" / "node.key"
    made = load_or_create(path, os.urandom)
    assert load_or_create(path, os.urandom) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_secret_that_others_could_read_is_refused(tmp_path, mode):
    path = tmp_path / "node.key"
    load_or_create(path, os.urandom)
    path.chmod(mode)
    with pytest.raises(UnavailableError, match="0600"):
        load_or_create(path, os.urandom)


def test_a_damaged_secret_is_refused_not_replaced(tmp_path):
    path = tmp_path / "node.key"
    path.write_bytes(b"short")
    path.chmod(0o600)
    with pytest.raises(UnavailableError, match="5 bytes"):
        load_or_create(path, os.urandom)
    assert path.read_bytes() == b"short"


def test_a_hash_belongs_to_one_name_one_secret_and_one_key():
    one = SecretHash(b"k" * 32)
    kept = one.of("a@88", "s")
    assert one.holds("a@88", "s", kept)
    assert not one.holds("b@88", "s", kept)
    assert not one.holds("a@88", "t", kept)
    assert not SecretHash(b"o" * 32).holds("a@88", "s", kept)


def test_new_secrets_are_256_bits_without_awkward_characters():
    secret = new_secret(lambda size: b"\xff" * size)
    assert len(secret) == 43
    assert secret.replace("_", "").replace("-", "").isalnum()
