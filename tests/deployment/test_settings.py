"""Where settings come from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from areabox.deployment.settings import known, load, service_manager, shown
from areabox.errors import ConfigurationError


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment in which no file of this machine is found."""
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "AREABOX_DATA_DIR": str(tmp_path / "data")}


def test_without_anything_the_defaults_hold(home):
    settings = load({}, home)
    assert (settings.host, settings.port, settings.rate_limits) == ("127.0.0.1", 8080, True)
    assert settings.egress_allow == ()
    assert settings.database_path == settings.data_dir / "areabox.db"
    assert settings.origins["port"] == "default"


def test_a_flag_beats_the_environment_which_beats_the_file(home, tmp_path):
    file = tmp_path / "own.toml"
    file.write_text('host = "192.0.2.1"\nport = 1\nslots = 7\n')
    environ = home | {"AREABOX_PORT": "2", "AREABOX_SLOTS": "8"}
    settings = load({"config": str(file), "port": "3", "host": None}, environ)
    assert (settings.host, settings.port, settings.slots) == ("192.0.2.1", 3, 8)
    assert settings.origins["host"] == f"file {file} line 1".removeprefix("file ")
    assert settings.origins["port"] == "flag --port"
    assert settings.origins["slots"] == "environment AREABOX_SLOTS"


def test_the_file_in_the_data_directory_is_found(home, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "areabox.toml").write_text("port = 9\n")
    assert load({}, home).port == 9


def test_the_file_of_the_user_is_found(home, tmp_path):
    (tmp_path / "config" / "areabox").mkdir(parents=True)
    (tmp_path / "config" / "areabox" / "areabox.toml").write_text("port = 9\n")
    assert load({}, home).port == 9


def test_an_unknown_key_in_the_file_names_line_and_nearest(home, tmp_path):
    file = tmp_path / "own.toml"
    file.write_text("# a comment\n\nprot = 1\n")
    with pytest.raises(ConfigurationError, match=r"line 3: prot is no setting; did you mean port\?"):
        load({"config": str(file)}, home)


def test_a_mistyped_variable_names_the_nearest(home):
    with pytest.raises(ConfigurationError, match="AREABOX_RATE_LIMIT is no setting; did you mean AREABOX_RATE_LIMITS"):
        load({}, home | {"AREABOX_RATE_LIMIT": "off"})


def test_a_variable_of_something_else_is_left_alone(home):
    load({}, home | {"AREABOX_BACKSTAGE": "1", "AREABOX_PORT_8080_TCP": "tcp://10.0.0.1:8080"})


def test_what_kubernetes_calls_a_port_is_not_ours(home):
    assert load({}, home | {"AREABOX_PORT": "tcp://10.0.0.1:8080"}).port == 8080


def test_all_problems_come_at_once(home):
    with pytest.raises(ConfigurationError) as caught:
        load({"port": "70000"}, home | {"AREABOX_SLOTS": "many", "AREABOX_EGRESS_ALLOW": "10.0.0.0/40"})
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "port (flag --port): '70000' does not fit; a number from 0 to 65,535 is expected" in lines


def test_a_secret_may_lie_in_a_file(home, tmp_path):
    (tmp_path / "token").write_text("abx_secret\n")
    settings = load({}, home | {"AREABOX_TOKEN_FILE": str(tmp_path / "token")})
    assert settings.token == "abx_secret"
    assert settings.origins["token"] == "environment AREABOX_TOKEN_FILE"


def test_a_secret_file_that_is_not_there_is_named(home):
    with pytest.raises(ConfigurationError, match="AREABOX_TOKEN_FILE: /nowhere cannot be read"):
        load({}, home | {"AREABOX_TOKEN_FILE": "/nowhere"})


def test_the_key_comes_from_a_systemd_credential(home, tmp_path):
    (tmp_path / "areabox.key").write_bytes(b"k" * 32)
    settings = load({}, home | {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert settings.key_file == tmp_path / "areabox.key"


def test_systemd_chooses_the_data_directory(tmp_path):
    environ = {"STATE_DIRECTORY": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    assert load({}, environ).data_dir == tmp_path


def test_units_are_read(home):
    settings = load({}, home | {"AREABOX_RETENTION_AGE": "2w", "AREABOX_RETENTION_SIZE": "1.5GiB"})
    assert settings.retention_age_ms == 14 * 86_400_000
    assert settings.retention_size_bytes == 1_610_612_736


def test_networks_and_names_are_lists(home, tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(
        'egress_allow = ["192.168.1.0/24", "fd00::/8"]\nallowed_hosts = ["a.example.org"]\nfiles_allow = ["/srv/a", "~/b"]\n'
    )
    settings = load({"config": str(file)}, home)
    assert [str(network) for network in settings.egress_allow] == ["192.168.1.0/24", "fd00::/8"]
    assert settings.allowed_hosts == ("a.example.org",)
    assert settings.files_allow == (Path("/srv/a"), Path.home() / "b")


@pytest.mark.parametrize(
    ("given", "path"), [("/srv/a.db", "/srv/a.db"), ("sqlite:///srv/a.db", "/srv/a.db"), ("sqlite:////srv/a.db", "/srv/a.db")]
)
def test_a_database_is_a_path_or_a_url(home, given, path):
    assert str(load({}, home | {"AREABOX_DATABASE": given}).database_path) == path


def test_postgres_is_refused_in_words(home):
    with pytest.raises(ConfigurationError, match=r"postgresql:// is not supported yet"):
        load({}, home | {"AREABOX_DATABASE": "postgresql://db/areabox"})


@pytest.mark.parametrize("url", ["areabox.example.org", "ftp://x", "https://x/?a=1"])
def test_a_public_url_that_is_none_is_refused(home, url):
    with pytest.raises(ConfigurationError, match=r"https://areabox\.example\.org is expected"):
        load({}, home | {"AREABOX_PUBLIC_URL": url})


def test_secrets_are_starred_where_settings_are_shown(home):
    settings = load({}, home | {"AREABOX_TOKEN": "abx_secret", "AREABOX_RATE_LIMITS": "off"})
    rows = {name: (value, origin) for name, value, origin in shown(settings)}
    assert rows["token"] == ("***", "environment AREABOX_TOKEN")
    assert rows["rate_limits"] == ("off", "environment AREABOX_RATE_LIMITS")
    assert rows["retention_age"][0] == "30d"
    assert rows["retention_size"][0] == "2GiB"
    assert set(rows) == set(known())


def test_what_is_wrong_with_a_secret_does_not_show_it(home, tmp_path):
    file = tmp_path / "own.toml"
    file.write_text("token = 12345\n")
    with pytest.raises(ConfigurationError) as caught:
        load({"config": str(file)}, home)
    assert "12345" not in str(caught.value)


def test_a_broken_file_is_an_error_that_names_it(home, tmp_path):
    file = tmp_path / "own.toml"
    file.write_text("port = = 1\n")
    with pytest.raises(ConfigurationError, match=r"own\.toml cannot be read"):
        load({"config": str(file)}, home)


def test_sockets_of_another_process_are_not_ours():
    assert service_manager({"LISTEN_PID": "1", "LISTEN_FDS": "2"}).sockets == 0
    assert service_manager({"WATCHDOG_USEC": "30000000"}).watchdog_s == 30
