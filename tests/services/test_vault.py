"""How do secrets rest?"""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from areabox.clock import SystemClock
from areabox.errors import ConfigurationError, InputError
from areabox.services import vault as vaults
from areabox.services.vault import Vault

CLOCK = SystemClock()
PURPOSE = "connection|secret|01"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vaults, "_ARGON2", {"time_cost": 1, "memory_cost": 1024, "parallelism": 1})


def test_what_was_sealed_opens_for_the_same_purpose_only() -> None:
    vault = Vault(CLOCK, {1: b"k" * 32})
    sealed = vault.seal(PURPOSE, b"secret")
    assert vault.open(PURPOSE, sealed) == b"secret"
    for other in ("connection|secret|02", "subscription|secret|01", ""):
        with pytest.raises(ConfigurationError, match="cannot be decrypted"):
            vault.open(other, sealed)


def test_the_same_text_never_looks_the_same() -> None:
    vault = Vault(CLOCK, {1: b"k" * 32})
    assert vault.seal(PURPOSE, b"secret") != vault.seal(PURPOSE, b"secret")


@pytest.mark.parametrize("place", [0, 1, 20, -1])
def test_a_changed_byte_is_noticed(place: int) -> None:
    vault = Vault(CLOCK, {1: b"k" * 32})
    sealed = bytearray(vault.seal(PURPOSE, b"secret"))
    sealed[place] ^= 1
    with pytest.raises(ConfigurationError):
        vault.open(PURPOSE, bytes(sealed))


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" + b"n" * 12])
def test_what_is_cut_off_is_noticed(sealed: bytes) -> None:
    with pytest.raises(ConfigurationError):
        Vault(CLOCK, {1: b"k" * 32}).open(PURPOSE, sealed)


def test_two_keys_live_while_one_replaces_the_other() -> None:
    old = Vault(CLOCK, {1: b"k" * 32})
    sealed = old.seal(PURPOSE, b"secret")
    both = old.rotated()
    assert both.open(PURPOSE, sealed) == b"secret"
    assert both.is_old(sealed)
    again = both.seal(PURPOSE, b"secret")
    assert not both.is_old(again)
    assert both.without_old().open(PURPOSE, again) == b"secret"
    with pytest.raises(ConfigurationError, match="a key that is not there"):
        both.without_old().open(PURPOSE, sealed)


def test_the_first_start_makes_a_key_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "areabox.key"
    made = Vault.load(CLOCK, path, create=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Vault.load(CLOCK, path).open(PURPOSE, made.seal(PURPOSE, b"x")) == b"x"
    assert [file.name for file in tmp_path.iterdir()] == ["areabox.key"]


def test_two_keys_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "areabox.key"
    old = Vault.load(CLOCK, path, create=True)
    sealed = old.seal(PURPOSE, b"x")
    old.rotated().save(path)
    again = Vault.load(CLOCK, path)
    assert again.active == 2
    assert again.open(PURPOSE, sealed) == b"x"


@pytest.mark.parametrize(
    "content", [b"k" * 32, (b"k" * 32).hex().encode() + b"\n", b"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=\n"]
)
def test_a_secret_store_may_give_the_bare_key(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    sealed = Vault(CLOCK, {1: b"k" * 32}).seal(PURPOSE, b"x")
    assert Vault.load(CLOCK, path).open(PURPOSE, sealed) == b"x"


@pytest.mark.parametrize("content", [b"", b"short", b"1:zz", b"# nothing\n", b"\xff" * 31])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="key file"):
        Vault.load(CLOCK, path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no key file"):
        Vault.load(CLOCK, tmp_path / "key")


def test_a_passphrase_wraps_the_keys_for_a_backup() -> None:
    vault = Vault(CLOCK, {1: b"k" * 32}).rotated()
    sealed = vault.seal(PURPOSE, b"secret")
    blob = vault.wrap("correct horse")
    assert Vault.unwrap(CLOCK, "correct horse", blob).open(PURPOSE, sealed) == b"secret"
    with pytest.raises(InputError, match="the passphrase is wrong"):
        Vault.unwrap(CLOCK, "battery staple", blob)


@pytest.mark.parametrize(
    "blob",
    [
        "",
        "{}",
        '{"salt":"AAAAAAAAAAAAAAAA","sealed":"AAAA","time_cost":1000000,"memory_cost":8,"parallelism":1}',
        '{"salt":"AAAAAAAAAAAAAAAA","sealed":"AAAA","time_cost":1,"memory_cost":900000000,"parallelism":1}',
    ],
)
def test_a_blob_that_would_take_for_ever_or_is_none_is_refused(blob: str) -> None:
    with pytest.raises(InputError, match="not a wrapped key"):
        Vault.unwrap(CLOCK, "x", blob)
