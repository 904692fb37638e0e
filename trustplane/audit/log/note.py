"""Signed notes, checkpoints and proofs in their C2SP forms, so that foreign tools can read ours.

Sources: c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature, tlog-proof. Signature types: 0x01 Ed25519
over the note; 0x04 Ed25519 cosignature with a time; 0x06 ML-DSA-44 cosignature with a time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519

from trustplane.audit.log.tree import verify_inclusion
from trustplane.errors import InputError, VerificationError

try:
    from cryptography.hazmat.primitives.asymmetric import mldsa
except ImportError:  # an older library: the second signature is left out
    mldsa = None  # type: ignore[assignment]

HAVE_MLDSA = mldsa is not None

__all__ = ["HAVE_MLDSA", "Checkpoint", "Key", "Proof", "Verifier", "parse_note", "verify_note"]

ED25519, COSIGN, MLDSA = 0x01, 0x04, 0x06
MAX_NOTE = 64 * 1024
MAX_SIGNATURES = 64
DASH = "— "


def _bad(message: str, cause: str) -> VerificationError:
    return VerificationError(message, cause=cause)


def check_name(name: str) -> str:
    """Return ``name`` if it can name a key or a log: 1 to 255 printable ASCII, no space, no plus."""
    if not 0 < len(name) <= 255 or any(not "!" <= c <= "~" or c == "+" for c in name):
        raise InputError("a key or log name is 1 to 255 printable ASCII characters without space or plus")
    return name


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """Return the 4-byte key id: SHA-256(name || newline || type || public key)[:4]."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def _b64(text: str, cause: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _bad("broken base64", cause) from None
    if base64.b64encode(data).decode() != text:
        raise _bad("base64 that is not canonical", cause)
    return data


def _message(kind: int, name: str, stamp: int, body: str) -> bytes:
    """Return the bytes that a signature of this type covers."""
    if kind == ED25519:
        return body.encode()
    if kind == COSIGN:
        return f"cosignature/v1\ntime {stamp}\n{body}".encode()
    checkpoint = Checkpoint.parse_body(body)
    signer, origin = name.encode(), checkpoint.origin.encode()
    return (
        b"subtree/v1\n\x00"
        + bytes([len(signer)]) + signer + struct.pack(">Q", stamp)
        + bytes([len(origin)]) + origin + struct.pack(">QQ", 0, checkpoint.size) + checkpoint.root
    )  # fmt: skip


class Verifier(msgspec.Struct, frozen=True):
    """A verifier key: ``name+<hex key id>+<base64(type || public key)>``."""

    name: str
    kind: int
    public: bytes

    @property
    def id(self) -> bytes:
        """The 4-byte key id."""
        return key_id(self.name, self.kind, self.public)

    @property
    def vkey(self) -> str:
        """The text form."""
        data = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.id.hex()}+{data}"

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """Read the text form.

        Raises:
            InputError: malformed, an unknown type, or a key id that does not fit.
        """
        parts = vkey.strip().split("+", 2)
        try:
            name, ident, data = parts[0], parts[1], base64.b64decode(parts[2], validate=True)
        except (IndexError, binascii.Error, ValueError):
            raise InputError("not a verifier key", hint="it reads name+keyid+base64") from None
        check_name(name)
        found = cls(name, data[0] if data else 0, data[1:])
        length = {ED25519: 32, COSIGN: 32, MLDSA: 1312}.get(found.kind)
        if length != len(found.public) or found.id.hex() != ident:
            raise InputError("not a verifier key: unknown type, wrong length or wrong key id")
        return found

    def check(self, body: str, signature: bytes) -> int:
        """Verify one signature over ``body``; return its time in seconds, 0 where it has none.

        Raises:
            VerificationError: cause ``signature``.
        """
        stamp, raw = 0, signature
        if self.kind in (COSIGN, MLDSA):
            if len(signature) < 8:
                raise _bad("a cosignature is too short", "signature")
            stamp, raw = struct.unpack(">Q", signature[:8])[0], signature[8:]
        try:
            message = _message(self.kind, self.name, stamp, body)
            if self.kind == MLDSA:
                if mldsa is None:
                    raise _bad("this cryptography library has no ML-DSA", "signature")
                mldsa.MLDSA44PublicKey.from_public_bytes(self.public).verify(raw, message)
            else:
                ed25519.Ed25519PublicKey.from_public_bytes(self.public).verify(raw, message)
        except (InvalidSignature, ValueError):
            raise _bad(f"the signature of {self.name} does not fit", "signature") from None
        return int(stamp)


class Key:
    """A signing key, in the text form of Go's note package: ``PRIVATE+KEY+name+keyid+base64(type || seed)``."""

    def __init__(self, name: str, kind: int, seed: bytes) -> None:
        self.name, self.kind, self._seed = check_name(name), kind, seed
        self._sign: Callable[[bytes], bytes]
        if kind == MLDSA:
            if mldsa is None:
                raise InputError("this cryptography library has no ML-DSA", hint="cryptography >= 47 has it")
            private = mldsa.MLDSA44PrivateKey.from_seed_bytes(seed)
            public = private.public_key().public_bytes_raw()
            self._sign = private.sign
        else:
            signing = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
            public = signing.public_key().public_bytes_raw()
            self._sign = signing.sign
        self.verifier = Verifier(name, kind, public)

    def __repr__(self) -> str:
        return f"Key({self.name}, {self.verifier.id.hex()})"

    @classmethod
    def generate(cls, name: str, kind: int = ED25519) -> Key:
        """Make a new key from the operating system's random source."""
        import secrets

        return cls(name, kind, secrets.token_bytes(32))

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read the text form; raises InputError without ever repeating it."""
        parts = text.strip().split("+", 4)
        try:
            data = base64.b64decode(parts[4], validate=True)
            if parts[:2] != ["PRIVATE", "KEY"] or len(data) != 33 or data[0] not in (ED25519, COSIGN, MLDSA):
                raise ValueError
            key = cls(parts[2], data[0], data[1:])
        except (IndexError, ValueError, binascii.Error):
            raise InputError("not a signing key", hint="it reads PRIVATE+KEY+name+keyid+base64") from None
        if key.verifier.id.hex() != parts[3]:
            raise InputError("a signing key whose id does not fit")
        return key

    @property
    def text(self) -> str:
        """The secret text form."""
        data = base64.b64encode(bytes([self.kind]) + self._seed).decode()
        return f"PRIVATE+KEY+{self.name}+{self.verifier.id.hex()}+{data}"

    @property
    def vkey(self) -> str:
        """The verifier key."""
        return self.verifier.vkey

    def sign(self, body: str, *, now: int | None = None) -> str:
        """Return the signature line over the note text ``body``; ``now`` in seconds, for types with a time."""
        stamp = 0
        head = b""
        if self.kind != ED25519:
            stamp = int(time.time()) if now is None else now
            head = struct.pack(">Q", stamp)
        raw = self._sign(_message(self.kind, self.name, stamp, body))
        return f"{DASH}{self.name} {base64.b64encode(self.verifier.id + head + raw).decode()}"


def parse_note(text: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Split a note into its text and its signatures (name, key id, rest), checking nothing else.

    Raises:
        VerificationError: cause ``note-form``.
    """
    body, found, tail = text.rpartition("\n\n")
    if not found or len(text) > MAX_NOTE or not tail.endswith("\n") or not body:
        raise _bad("not a signed note", "note-form")
    if any(c < " " and c != "\n" for c in text):
        raise _bad("a control character in a note", "note-form")
    signatures: list[tuple[str, bytes, bytes]] = []
    for line in tail[:-1].split("\n"):
        name, space, data = line.removeprefix(DASH).partition(" ")
        raw = _b64(data, "note-form")
        if not line.startswith(DASH) or not space or len(raw) < 5 or len(signatures) >= MAX_SIGNATURES:
            raise _bad("a malformed signature line", "note-form")
        signatures.append((name, raw[:4], raw[4:]))
    return body + "\n", signatures


def verify_note(text: str, verifiers: Iterable[Verifier]) -> tuple[str, dict[str, int]]:
    """Return the text of a note and, per known key that signed it (as vkey), the time of its signature.

    Signatures of unknown keys are passed over; one wrong signature of a known key refuses the note.

    Raises:
        VerificationError: cause ``note-form``, ``signature`` or ``unsigned``.
    """
    body, signatures = parse_note(text)
    known = {(v.name, v.id): v for v in verifiers}
    signed: dict[str, int] = {}
    for name, ident, raw in signatures:
        verifier = known.get((name, ident))
        if verifier is not None:
            signed[verifier.vkey] = verifier.check(body, raw)
    if not signed:
        raise _bad("no known key signed this note", "unsigned")
    return body, signed


class Checkpoint(msgspec.Struct, frozen=True):
    """The head of a log: its origin, how many entries, and their root."""

    origin: str
    size: int
    root: bytes

    @property
    def body(self) -> str:
        """The note text."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse_body(cls, body: str) -> Checkpoint:
        """Read a note text; extension lines are refused, ours has none.

        Raises:
            VerificationError: cause ``checkpoint-form``.
        """
        lines = body.split("\n")
        if len(lines) != 4 or lines[3] or not lines[0]:
            raise _bad("not a checkpoint", "checkpoint-form")
        if not lines[1].isdecimal() or not lines[1].isascii() or str(int(lines[1][:20])) != lines[1]:
            raise _bad("a malformed size in a checkpoint", "checkpoint-form")
        root = _b64(lines[2], "checkpoint-form")
        if len(root) != 32:
            raise _bad("a checkpoint's root is not 32 bytes", "checkpoint-form")
        return cls(lines[0], int(lines[1]), root)

    @classmethod
    def claimed(cls, text: str) -> Checkpoint:
        """Return what a signed checkpoint says, its signatures unchecked."""
        return cls.parse_body(text.partition("\n\n")[0] + "\n")

    @classmethod
    def verify(cls, text: str, verifiers: Sequence[Verifier], origin: str) -> tuple[Checkpoint, dict[str, int]]:
        """Verify a signed checkpoint of the log ``origin``; return it and who signed."""
        body, signed = verify_note(text, verifiers)
        checkpoint = cls.parse_body(body)
        if checkpoint.origin != origin:
            raise _bad("a checkpoint of another log", "origin")
        return checkpoint, signed


class Proof(msgspec.Struct, frozen=True):
    """A ``.tlog-proof``: index, audit path and the signed checkpoint; ``extra`` is not authenticated."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    extra: bytes = b""

    @property
    def text(self) -> str:
        """The C2SP text form."""
        lines = ["c2sp.org/tlog-proof@v1"]
        if self.extra:
            lines.append("extra " + base64.b64encode(self.extra).decode())
        lines.append(f"index {self.index}")
        lines += [base64.b64encode(item).decode() for item in self.path]
        return "\n".join(lines) + "\n\n" + self.checkpoint

    @classmethod
    def parse(cls, text: str) -> Proof:
        """Read the text form.

        Raises:
            VerificationError: cause ``proof-form``.
        """
        head, found, checkpoint = text.partition("\n\n")
        lines = head.split("\n")
        if not found or lines[0] != "c2sp.org/tlog-proof@v1" or len(text) > 2 * MAX_NOTE:
            raise _bad("not a tlog-proof", "proof-form")
        rest, extra = lines[1:], b""
        if rest and rest[0].startswith("extra "):
            extra, rest = _b64(rest[0][6:], "proof-form"), rest[1:]
        number = rest[0].removeprefix("index ") if rest and rest[0].startswith("index ") else ""
        if not (number.isascii() and number.isdecimal()) or len(number) > 19 or str(int(number)) != number:
            raise _bad("a malformed index in a tlog-proof", "proof-form")
        path = tuple(_b64(item, "proof-form") for item in rest[1:])
        if len(path) > 63 or any(len(item) != 32 for item in path):
            raise _bad("a malformed path in a tlog-proof", "proof-form")
        return cls(int(number), path, checkpoint, extra)

    def verify(self, leaf: bytes, verifiers: Sequence[Verifier], origin: str) -> Checkpoint:
        """Check that the entry with leaf hash ``leaf`` is in the log; return the checkpoint that says so."""
        checkpoint, _ = Checkpoint.verify(self.checkpoint, verifiers, origin)
        try:
            verify_inclusion(leaf, self.index, checkpoint.size, self.path, checkpoint.root)
        except VerificationError as error:
            raise VerificationError(error.message, cause=error.cause, index=self.index) from None
        return checkpoint
