"""How do secrets rest? Encrypted by a key that lies outside the database.

The master key is 32 bytes in a file of its own. AES-256-GCM with a random nonce; the key of each purpose is derived by
HKDF (RFC 5869); what is authenticated with it names table, column and row, so that a value copied elsewhere does not
open. The first byte of a sealed value says which key sealed it, so that two keys can live while one replaces the other.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from areabox.clock import Clock
from areabox.errors import ConfigurationError, InputError

KEY_BYTES = 32
KEYS_MAX = 255
_NONCE_BYTES = 12
_FILE_MODE = 0o600
_ARGON2 = {"time_cost": 3, "memory_cost": 65_536, "parallelism": 1}  # RFC 9106 recommends 64 MiB at least


class Wrapped(msgspec.Struct, frozen=True):
    """The master keys under a passphrase (argon2id, AES-256-GCM), for a backup."""

    salt: bytes
    sealed: bytes
    time_cost: int
    memory_cost: int
    parallelism: int


class Vault:
    """Seals and opens values; `keys` are the master keys by their number, of which the highest seals."""

    def __init__(self, clock: Clock, keys: Mapping[int, bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES or not 0 < id <= KEYS_MAX for id, key in keys.items()):
            raise ConfigurationError(f"a master key is {KEY_BYTES} bytes and has a number from 1 to {KEYS_MAX}")
        self._clock, self._keys, self._ciphers = clock, dict(keys), dict[tuple[int, str], AESGCM]()
        self.active = max(keys)

    def seal(self, purpose: str, data: bytes) -> bytes:
        """Encrypt for one purpose, `table|column|row`, which must be given again to open it."""
        nonce = self._clock.secret(_NONCE_BYTES)
        return bytes([self.active]) + nonce + self._cipher(self.active, purpose).encrypt(nonce, data, purpose.encode())

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """Decrypt what `seal` gave for the same purpose; raises ConfigurationError where the key is another."""
        if not sealed or sealed[0] not in self._keys:
            raise ConfigurationError("a secret was encrypted with a key that is not there; restore the key file")
        nonce, data = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher(sealed[0], purpose).decrypt(nonce, data, purpose.encode())
        except (InvalidTag, ValueError):
            raise ConfigurationError(
                "a secret cannot be decrypted: the key file is not the one that it was encrypted with"
            ) from None

    def keys(self, purpose: str) -> list[bytes]:
        """Return the keys to sign with for one purpose: that of the newest master key first, then the older ones."""
        found = sorted(self._keys.items(), reverse=True)
        return [HKDF(SHA256(), KEY_BYTES, None, f"areabox|{purpose}|sign".encode()).derive(key) for _, key in found]

    def is_old(self, sealed: bytes) -> bool:
        """Tell whether a value was sealed by a key that is being replaced."""
        return sealed[:1] != bytes([self.active])

    def rotated(self) -> Vault:
        """Return a vault that seals with a new key and still opens what the old ones sealed."""
        return Vault(self._clock, {**self._keys, self.active + 1: self._clock.secret(KEY_BYTES)})

    def without_old(self) -> Vault:
        """Return a vault with the newest key only, once everything is sealed with it."""
        return Vault(self._clock, {self.active: self._keys[self.active]})

    # -- the key file ----------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, clock: Clock, path: Path, *, create: bool = False) -> Self:
        """Read the key file; with `create` make one, mode 0600, if there is none. Raises ConfigurationError."""
        try:
            return cls(clock, _read(path.read_bytes(), path))
        except FileNotFoundError:
            if not create:
                raise ConfigurationError(f"there is no key file {path}") from None
        except OSError as error:
            raise ConfigurationError(f"the key file {path} cannot be read: {error.strerror}") from None
        made = cls(clock, {1: clock.secret(KEY_BYTES)})
        made.save(path)
        return made

    def save(self, path: Path) -> None:
        """Write the key file whole or not at all, readable by its owner only."""
        lines = [f"{id}:{base64.b64encode(key).decode()}" for id, key in sorted(self._keys.items())]
        beside = path.with_name(path.name + ".new")
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 -- a descriptor with its mode
            file.write("# The master key of areabox. Without it stored secrets are lost; keep a copy elsewhere.\n")
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _sync_folder(path.parent)

    # -- the passphrase --------------------------------------------------------------------------------------------

    def wrap(self, passphrase: str) -> str:
        """Return the master keys encrypted under a passphrase, as text. Takes some 0.3 s: call it in a thread."""
        salt = self._clock.secret(16)
        nonce = self._clock.secret(_NONCE_BYTES)
        cipher = AESGCM(_stretched(passphrase, salt, **_ARGON2))
        sealed = nonce + cipher.encrypt(nonce, msgspec.json.encode(self._keys), b"areabox master keys")
        return msgspec.json.encode(Wrapped(salt, sealed, **_ARGON2)).decode()

    @classmethod
    def unwrap(cls, clock: Clock, passphrase: str, blob: str) -> Self:
        """Return the vault that `wrap` was asked of; raises InputError for a wrong passphrase."""
        try:
            found = msgspec.json.decode(blob, type=Wrapped)
            _bounded(found)
            key = _stretched(passphrase, found.salt, found.time_cost, found.memory_cost, found.parallelism)
            opened = AESGCM(key).decrypt(found.sealed[:12], found.sealed[12:], b"areabox master keys")
        except (msgspec.DecodeError, ValueError):
            raise InputError("this is not a wrapped key of areabox") from None
        except InvalidTag:
            raise InputError("the passphrase is wrong") from None
        return cls(clock, msgspec.json.decode(opened, type=dict[int, bytes]))

    def _cipher(self, id: int, purpose: str) -> AESGCM:
        what = purpose.rpartition("|")[0] or purpose
        cipher = self._ciphers.get((id, what))
        if cipher is None:
            derived = HKDF(SHA256(), KEY_BYTES, None, f"areabox|{what}".encode()).derive(self._keys[id])
            cipher = self._ciphers[id, what] = AESGCM(derived)
        return cipher


def _read(data: bytes, path: Path) -> dict[int, bytes]:
    """Return the keys of a file: areabox's own lines, or one bare key (raw, hex or base64) as a secret store gives."""
    if len(data) == KEY_BYTES:
        return {1: data}
    lines = [line.strip() for line in data.decode("ascii", "replace").splitlines()]
    keys: dict[int, bytes] = {}
    for line in lines:
        if line and not line.startswith("#"):
            id, _, text = line.rpartition(":")
            keys[int(id) if id.isdigit() else 1] = _decoded(text, path)
    if not keys:
        raise ConfigurationError(f"the key file {path} holds no key")
    return keys


def _decoded(text: str, path: Path) -> bytes:
    for decode in (bytes.fromhex, lambda text: base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_")):
        with contextlib.suppress(ValueError, binascii.Error):
            key = decode(text if decode is bytes.fromhex else text.replace("+", "-").replace("/", "_"))
            if len(key) == KEY_BYTES:
                return key
    raise ConfigurationError(f"the key file {path} holds something else than {KEY_BYTES} bytes in hex or base64")


def _stretched(passphrase: str, salt: bytes, time_cost: int, memory_cost: int, parallelism: int) -> bytes:
    return hash_secret_raw(
        passphrase.encode(), salt, time_cost=time_cost, memory_cost=memory_cost, parallelism=parallelism,
        hash_len=KEY_BYTES, type=Type.ID,
    )  # fmt: skip


def _bounded(wrapped: Wrapped) -> None:
    """Refuse a blob that asks for more work than areabox ever would; it may come from elsewhere."""
    if not (1 <= wrapped.time_cost <= 10 and 8 <= wrapped.memory_cost <= 262_144 and 1 <= wrapped.parallelism <= 4):
        raise ValueError("out of bounds")
    if len(wrapped.salt) < 8:
        raise ValueError("no salt")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
