import ssl
import stat

import pytest

from node.config import DoorsConfig, TlsConfig
from node.tls import check_doors, is_loopback_host, load, make_self_signed, thumbprint
from registry.errors import ExistsError, InvalidValueError, UnavailableError
from tests.support.node import NOW


def test_a_first_certificate_is_made_protected_and_loads_into_a_server(tmp_path):
    made = make_self_signed(tmp_path, names=["id.example.cn", "192.0.2.10", "::1"], now=NOW)
    assert stat.S_IMODE(made.private_key.stat().st_mode) == 0o600
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(made.certificate, made.private_key)
    config = TlsConfig(certificate_file="tls/certificate.pem", private_key_file="tls/private_key.pem")
    found = load(config, tmp_path)
    assert found == made
    assert len(made.x5t_s256) == 43
    with pytest.raises(ExistsError):
        make_self_signed(tmp_path, names=["x"], now=NOW)
    assert thumbprint(made.certificate.read_bytes()) == made.x5t_s256


def test_half_a_configuration_is_refused(tmp_path):
    assert load(TlsConfig(), tmp_path) is None
    with pytest.raises(InvalidValueError, match="private_key_file"):
        load(TlsConfig(certificate_file="c.pem"), tmp_path)


def test_unreadable_files_open_keys_and_other_content_are_refused(tmp_path):
    config = TlsConfig(certificate_file="c.pem", private_key_file="k.pem")
    with pytest.raises(UnavailableError):
        load(config, tmp_path)
    (tmp_path / "c.pem").write_text("no certificate")
    (tmp_path / "k.pem").write_text("x")
    (tmp_path / "k.pem").chmod(0o644)
    with pytest.raises(UnavailableError, match="0600"):
        load(config, tmp_path)
    (tmp_path / "k.pem").chmod(0o600)
    with pytest.raises(InvalidValueError, match="no certificate"):
        load(config, tmp_path)


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("node", False),
    ],
)
def test_doors_beyond_this_machine_need_tls(host, inside):
    assert is_loopback_host(host) is inside
    doors = DoorsConfig(http_host=host)
    if inside:
        check_doors(doors, TlsConfig(), encrypted=False)
    else:
        with pytest.raises(InvalidValueError, match="http_host"):
            check_doors(doors, TlsConfig(), encrypted=False)
    check_doors(doors, TlsConfig(), encrypted=True)
    check_doors(doors, TlsConfig(allow_plain=True), encrypted=False)
