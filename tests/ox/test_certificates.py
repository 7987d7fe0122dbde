"""The guard for keys: what it takes, and what never reaches an engine."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from traceback import TracebackException

import pysequoia
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2ee.errors import ErrorCode, PeerMisbehaved
from e2ee.limits import (
    MAX_CERTIFICATE_BYTES,
    MAX_CERTIFICATE_PACKETS,
    MAX_CERTIFICATE_USER_IDS,
    MAX_RSA_BITS,
)
from e2ee.secret import Secret
from ox.certificates import check_certificate, check_secret_key
from ox.key_packets import (
    CURVE25519,
    Algorithm,
    Rsa,
    fingerprint_of,
    read_public_key,
    read_secret_key,
)
from ox.packets import Packet, Tag, read_packets, write_mpi, write_packet
from ox.pkesk import decryption_keys
from tests.support.openpgp import own_key

PUBLIC, SECRET = own_key()
PACKETS = read_packets(PUBLIC, most=9)  # key, user id, signature, subkey, signature
SECRET_PACKETS = read_packets(SECRET.reveal(), most=9)
OTHER = pysequoia.Tsk.generate("xmpp:a@b.c", profile=pysequoia.Profile.RFC4880)


def join(*packets: Packet) -> bytes:
    return b"".join(write_packet(packet.tag, packet.body) for packet in packets)


def rsa_body(bits: int, exponent: int = 65537, algorithm: int = 1) -> bytes:
    modulus = (1 << bits - 1) + 1
    return b"\x04" + bytes(4) + bytes((algorithm,)) + write_mpi(modulus) + write_mpi(exponent)


def refused(
    data: bytes,
    code: ErrorCode,
    guard: Callable[[bytes], object] = check_certificate,
) -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        guard(data)
    assert caught.value.code is code


def secret_refused(data: bytes, code: ErrorCode = ErrorCode.MALFORMED) -> None:
    refused(data, code, lambda octets: check_secret_key(Secret(octets)))


def test_our_own_key_is_taken() -> None:
    primary, subkey = check_certificate(PUBLIC)
    assert (primary.algorithm, subkey.algorithm) == (Algorithm.EDDSA, Algorithm.ECDH)
    assert primary.created == datetime(2026, 1, 1, tzinfo=UTC)
    assert [key.public for key in check_secret_key(SECRET)] == [primary, subkey]


@pytest.mark.parametrize("suite", ["Cv25519", "RSA2k", "RSA3k", "P256", "P521", "Cv448"])
def test_keys_of_every_kind_are_taken_and_named_as_sequoia_names_them(suite: str) -> None:
    made = pysequoia.Tsk.generate(
        "xmpp:a@b.c",
        profile=pysequoia.Profile.RFC4880,
        cipher_suite=getattr(pysequoia.CipherSuite, suite),
    )
    certificate = bytes(made.extract_certificate())
    named = [
        packet.fingerprint
        for packet in pysequoia.packet.PacketPile.from_bytes(certificate)
        if packet.fingerprint
    ]
    assert [key.fingerprint.hex() for key in check_certificate(certificate)] == named
    if suite != "Cv448":  # its secret form is nobody's we know
        secret = check_secret_key(Secret(bytes(made)))
        assert [key.public.fingerprint.hex() for key in secret] == named


def test_g_10_two_keys_are_refused() -> None:
    other = bytes(OTHER.extract_certificate())
    refused(PUBLIC + other, ErrorCode.MALFORMED)
    refused(PUBLIC + PUBLIC, ErrorCode.MALFORMED)
    secret_refused(SECRET.reveal() + bytes(OTHER))


def test_g_10_a_secret_key_is_no_certificate() -> None:
    refused(SECRET.reveal(), ErrorCode.MALFORMED)
    refused(PUBLIC + join(SECRET_PACKETS[3]), ErrorCode.MALFORMED)
    secret_refused(PUBLIC)
    secret_refused(SECRET.reveal() + join(PACKETS[3]))


def test_g_10_foreign_packets_are_refused() -> None:
    for tag in (1, 3, 8, 9, 10, 11, 12, 18, 19, 21, 60):
        refused(PUBLIC + write_packet(tag, b"\x01" + bytes(30)), ErrorCode.MALFORMED)
    refused(join(*PACKETS[1:]), ErrorCode.MALFORMED)
    refused(b"", ErrorCode.MALFORMED)
    refused(PUBLIC + b"\n", ErrorCode.MALFORMED)


def test_g_10_floods_are_refused() -> None:
    key, user_id, certification, *rest = PACKETS
    refused(PUBLIC + bytes(MAX_CERTIFICATE_BYTES), ErrorCode.LIMIT_EXCEEDED)
    flooded = PUBLIC + join(*[Packet(Tag.SIGNATURE, b"\x04" + bytes(9))] * 10_000)
    refused(flooded, ErrorCode.LIMIT_EXCEEDED)
    more = [user_id, certification] * MAX_CERTIFICATE_USER_IDS
    check_certificate(join(key, *more, *rest))
    refused(join(key, *more, user_id, certification, *rest), ErrorCode.LIMIT_EXCEEDED)
    subkeys = [rest[0], rest[1]] * (MAX_CERTIFICATE_PACKETS // 2)
    refused(join(key, user_id, certification, *subkeys), ErrorCode.LIMIT_EXCEEDED)


def test_g_10_other_versions_are_refused() -> None:
    for version in (2, 3, 5, 6):
        body = bytes((version,)) + PACKETS[0].body[1:]
        refused(join(Packet(6, body), *PACKETS[1:]), ErrorCode.UNSUPPORTED_ALGORITHM)
        subkey = Packet(14, bytes((version,)) + PACKETS[3].body[1:])
        refused(join(*PACKETS[:3], subkey), ErrorCode.UNSUPPORTED_ALGORITHM)
        signed = Packet(2, bytes((version,)) + PACKETS[2].body[1:])
        refused(join(*PACKETS[:2], signed), ErrorCode.UNSUPPORTED_ALGORITHM)
    made = pysequoia.Tsk.generate("xmpp:a@b.c", profile=pysequoia.Profile.RFC9580)
    refused(bytes(made.extract_certificate()), ErrorCode.UNSUPPORTED_ALGORITHM)
    secret_refused(bytes(made), ErrorCode.UNSUPPORTED_ALGORITHM)


def test_g_10_weak_primary_keys_are_refused() -> None:
    for bits in (512, 1024, 2047):
        weak = join(Packet(6, rsa_body(bits)), *PACKETS[1:])
        refused(weak, ErrorCode.UNSUPPORTED_ALGORITHM)
    check_certificate(join(Packet(6, rsa_body(2048)), *PACKETS[1:]))
    head = b"\x04" + bytes(4)
    dsa = head + b"\x11" + write_mpi(1 << 2047) * 4
    elgamal = head + b"\x10" + write_mpi(1 << 2047) * 3
    for body in (dsa, elgamal):
        refused(join(Packet(6, body), *PACKETS[1:]), ErrorCode.UNSUPPORTED_ALGORITHM)
        check_certificate(join(*PACKETS, Packet(14, body)))  # the engine will not use it


def test_g_10_oversized_rsa_is_refused() -> None:
    for body in (
        rsa_body(MAX_RSA_BITS + 1),
        rsa_body(16_384, (1 << 16_383) + 1),
        rsa_body(2048, 1 << 40),
    ):
        refused(join(Packet(6, body), *PACKETS[1:]), ErrorCode.LIMIT_EXCEEDED)
        refused(join(*PACKETS, Packet(14, body)), ErrorCode.LIMIT_EXCEEDED)
    check_certificate(join(*PACKETS, Packet(14, rsa_body(MAX_RSA_BITS))))


@pytest.mark.parametrize(
    "area",
    [
        b"\xff\xff\xff\xff\xff\x1b\x03",  # 4 GiB of key flags: hours in one engine
        b"\xff\x00\x00\x00\x00",
        b"\x00",
        b"\x05\x1b\x03",
        b"\xc0\x00\x1b",
        b"\xfe",
        b"\xff\x00",
    ],
)
def test_g_23_subpackets_that_lie_are_refused(area: bytes) -> None:
    for areas in (
        len(area).to_bytes(2) + area + b"\0\0",
        b"\0\0" + len(area).to_bytes(2) + area,
        b"\xff\xff" + area,
    ):
        body = b"\x04\x13\x16\x0a" + areas + bytes(6)
        refused(join(*PACKETS, Packet(2, body)), ErrorCode.MALFORMED)


def test_subpackets_of_every_length_are_taken() -> None:
    for length, size in ((b"\x02", 2), (b"\xc0\x00", 192), (b"\xff\x00\x00\x00\x03", 3)):
        area = (length + b"\x1b" + bytes(size - 1)) * 2
        body = b"\x04\x13\x16\x0a" + len(area).to_bytes(2) + area + b"\0\0" + bytes(6)
        check_certificate(join(*PACKETS, Packet(2, body)))


def test_g_23_every_truncation_of_a_certificate_is_refused() -> None:
    ends = {len(join(*PACKETS[:count])) for count in range(1, 6)}
    for size in range(len(PUBLIC)):
        if size not in ends:
            refused(PUBLIC[:size], ErrorCode.MALFORMED)
    for size in range(len(SECRET)):
        with suppress(PeerMisbehaved):
            check_secret_key(Secret(SECRET.reveal()[:size]))


@given(st.data())
def test_g_23_mutated_keys_are_taken_or_refused(data: st.DataObject) -> None:
    for whole, guard in (
        (PUBLIC, check_certificate),
        (SECRET.reveal(), lambda octets: decryption_keys(check_secret_key(Secret(octets)))),
    ):
        start = data.draw(st.integers(0, len(whole)))
        end = data.draw(st.integers(start, min(len(whole), start + 20)))
        mutated = whole[:start] + data.draw(st.binary(max_size=20)) + whole[end:]
        with suppress(PeerMisbehaved):
            guard(mutated)


@given(st.integers(0, 255), st.binary(max_size=100))
def test_g_23_any_key_body_is_read_or_refused(algorithm: int, rest: bytes) -> None:
    body = b"\x04" + bytes(4) + bytes((algorithm,)) + rest
    with suppress(PeerMisbehaved):
        read_public_key(body)
    with suppress(PeerMisbehaved):
        read_secret_key(Secret(body))


def test_g_23_a_key_too_long_for_its_fingerprint_is_refused() -> None:
    body = b"\x04" + bytes(4) + b"\x63" + bytes(0xFFFF)
    refused(join(Packet(6, body)), ErrorCode.MALFORMED)


def test_public_keys_that_cannot_be_encrypted_to_have_no_numbers() -> None:
    head = b"\x04" + bytes(4) + b"\x12" + bytes((len(CURVE25519),)) + CURVE25519
    point = write_mpi(0x40 << 256 | 9)
    for kdf in (b"\x03\x01\x02\x07", b"\x03\x01\x08\x02"):  # SHA-1; triple DES
        assert read_public_key(head + point + kdf).numbers is None
    for rest in (
        point + b"\x04\x01\x08\x07\x00",
        point + b"\x03\x02\x08\x07",
        write_mpi(0x41 << 256) + b"\x03\x01\x08\x07",
        write_mpi(9) + b"\x03\x01\x08\x07",
        point + b"\x03\x01\x08\x07\x00",
    ):
        with pytest.raises(PeerMisbehaved):
            read_public_key(head + rest)
    for curve in (b"\x00", b"\xff"):
        with pytest.raises(PeerMisbehaved):
            read_public_key(b"\x04" + bytes(4) + b"\x12" + curve + bytes(300))
    unknown = read_public_key(b"\x04" + bytes(4) + b"\x23" + bytes(1000))
    assert (unknown.algorithm, unknown.numbers) == (35, None)


def test_protected_and_absent_secret_keys_are_refused() -> None:
    primary, *rest = SECRET_PACKETS
    public = len(PACKETS[0].body)
    for usage in (
        b"\xfe\x09\x03\x08",
        b"\xff\x09\x03\x08",
        b"\xfd\x09",
        b"\x09",
        b"\xff\x00\x65\x00GNU\x01",
    ):
        body = primary.body[:public] + usage + bytes(60)
        secret_refused(join(Packet(5, body), *rest), ErrorCode.UNSUPPORTED_ALGORITHM)
    secret_refused(
        join(*SECRET_PACKETS, Packet(7, b"\x04" + bytes(4) + b"\x63" + bytes(99))),
        ErrorCode.UNSUPPORTED_ALGORITHM,
    )


def test_secret_keys_with_a_wrong_checksum_are_refused() -> None:
    for index in (0, 3):
        packets = list(SECRET_PACKETS)
        body = packets[index].body
        packets[index] = Packet(packets[index].tag, body[:-1] + bytes((body[-1] ^ 1,)))
        secret_refused(join(*packets))


def test_secret_numbers_fill_their_place_exactly() -> None:
    scalar = (1 << 256) + 1
    for index, numbers in ((3, write_mpi(scalar)), (0, write_mpi(7) + b"\0"), (3, b"")):
        checksum = (sum(numbers) & 0xFFFF).to_bytes(2)
        packets = list(SECRET_PACKETS)
        body = PACKETS[index].body + b"\0" + numbers + checksum
        packets[index] = Packet(packets[index].tag, body)
        secret_refused(join(*packets))


def test_a_secret_part_of_another_key_is_refused() -> None:
    """Whoever could swap one part would learn the other from what is decrypted with both."""
    scalar = os.urandom(31) + b"\x40"
    written = write_mpi(int.from_bytes(scalar, "little"))
    secret_part = b"\0" + written + (sum(written) & 0xFFFF).to_bytes(2)
    swapped = Packet(7, PACKETS[3].body + secret_part)
    keys = check_secret_key(Secret(join(*SECRET_PACKETS[:3], swapped)))
    with pytest.raises(PeerMisbehaved):
        decryption_keys(keys)


def test_rsa_numbers_that_do_not_belong_together_are_refused() -> None:
    suite, profile = pysequoia.CipherSuite.RSA2k, pysequoia.Profile.RFC4880
    made = pysequoia.Tsk.generate("xmpp:a@b.c", profile=profile, cipher_suite=suite)
    first, *_ = read_packets(bytes(made), most=9)
    (key,) = check_secret_key(Secret(join(first)))
    assert isinstance(key.public.numbers, Rsa)
    public = len(b"\x04" + bytes(5) + write_mpi(key.public.numbers.modulus) + write_mpi(65537))
    for swapped in (
        first.body[:6] + write_mpi(key.public.numbers.modulus + 2) + first.body[6 + 258 :],
        first.body[: public - 1] + b"\x03" + first.body[public:],
    ):
        with pytest.raises(PeerMisbehaved) as caught:
            decryption_keys(check_secret_key(Secret(join(Packet(5, swapped)))))
        assert caught.value.code is ErrorCode.MALFORMED
        assert fingerprint_of(swapped[:public]) != key.public.fingerprint
    signing_only = first.body[:5] + b"\x03" + first.body[6:]
    assert decryption_keys(check_secret_key(Secret(join(Packet(5, signing_only))))) == ()


@given(
    st.integers(0, 9) | st.integers(0, 2**2048),
    st.integers(0, 9) | st.integers(0, 2**2048),
    st.integers(0, 9) | st.integers(0, 2**2048),
    st.booleans(),
)
def test_g_23_any_rsa_numbers_are_read_or_refused(d: int, p: int, q: int, product: bool) -> None:
    modulus = p * q if product else (1 << 2047) + 1
    secret_part = b"".join(map(write_mpi, (d, p, q, 1)))
    checksum = (sum(secret_part) & 0xFFFF).to_bytes(2)
    public = b"\x04" + bytes(4) + b"\x01" + write_mpi(modulus) + write_mpi(65537)
    key = Secret(join(Packet(5, public + b"\0" + secret_part + checksum)))
    with pytest.raises(PeerMisbehaved):
        decryption_keys(check_secret_key(key))


@pytest.mark.parametrize("cut", [1, 30])
def test_z_01_a_refused_secret_key_stands_in_no_frame(cut: int) -> None:
    """Reports of errors may print the locals of every frame between the caller and the error."""
    with pytest.raises(PeerMisbehaved) as caught:
        check_secret_key(Secret(SECRET.reveal()[:-cut]))
    trace = TracebackException.from_exception(caught.value, capture_locals=True)
    shown = [frame.locals for frame in trace.stack if "certificates.py" in frame.filename]
    assert repr(SECRET.reveal()[:8])[2:-1] not in str(shown)
    assert [frame.name for frame in trace.stack][-1] == "check_secret_key"


def test_secret_numbers_never_print() -> None:
    for key in check_secret_key(SECRET):
        assert "Secret" not in repr(key).replace("SecretKey", "")
    (ready,) = decryption_keys(check_secret_key(SECRET))
    assert "private" not in repr(ready)
