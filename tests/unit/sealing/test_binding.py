"""Section 15, binding: nothing of an envelope can be exchanged, edited or re-used without the recipient noticing."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl import bindings as sodium

from hushnet.sealing import derivations
from hushnet.sealing.encoding import sha256
from hushnet.sealing.errors import SealingError
from hushnet.sealing.opening import OpenedRequest
from hushnet.sealing.statements import Recipient
from hushnet.sealing.suites import Suite, wrap
from support.sealing import (
    DATA,
    NOW,
    BenchProvider,
    RequestForger,
    pack_entry,
    pack_envelope,
    pack_plaintext,
    seal_to,
)

SUITES = pytest.mark.parametrize("suite", Suite, ids=[suite.label for suite in Suite])
ORDER_EIGHT = bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")


@dataclass
class Scene:
    """Two providers, one request to both, and its parts."""

    suite: Suite
    alice: BenchProvider = field(default_factory=BenchProvider)
    bob: BenchProvider = field(default_factory=BenchProvider)

    def __post_init__(self) -> None:
        self.to_alice = self.alice.recipient(self.suite)
        self.to_bob = self.bob.recipient(self.suite)
        self.forger = RequestForger([self.to_alice, self.to_bob])
        self.body = self.forger.body()

    def entry(self, recipient: Recipient, **changes: Any) -> bytes:
        return self.forger.entry(recipient, self.body, **changes)

    def attempt(self, *, entry: bytes | None = None, body: bytes | None = None, header: bytes | None = None) -> bytes:
        return pack_envelope(
            header or self.forger.header_bytes, [entry or self.entry(self.to_alice)], body or self.body
        )

    def with_header(self, **changes: Any) -> bytes:
        edited = RequestForger(self.forger.recipients)
        edited.change_header(**changes)
        return self.attempt(header=edited.header_bytes)


def wrap_from_other_request(scene: Scene) -> bytes:
    other = RequestForger([scene.to_alice], content_key=secrets.token_bytes(32))
    return scene.attempt(entry=other.entry(scene.to_alice, other.body()))


def body_from_other_request(scene: Scene) -> bytes:
    other = RequestForger([scene.to_alice], plaintext=pack_plaintext(b"{}", b"another prompt"))
    return scene.attempt(body=other.body())


def insider_substitutes_body(scene: Scene) -> bytes:
    """Bob, a recipient, knows C: he seals another prompt under the same header and leaves Alice's wrap as it is."""
    insider = RequestForger(
        [scene.to_alice], content_key=scene.forger.content_key, plaintext=pack_plaintext(b"{}", b"Bob's prompt")
    )
    assert insider.header_bytes == scene.forger.header_bytes
    return scene.attempt(body=insider.body())


def two_content_keys(scene: Scene) -> bytes:
    """The sealer gives Alice a key that is not the committed one, and a body that opens under hers."""
    other = bytes(32)
    body = scene.forger.body(content_key=other)
    entry = scene.forger.entry(scene.to_alice, body, secret=other + scene.forger.reply_key)
    return scene.attempt(entry=entry, body=body)


def garbage_wrap(scene: Scene) -> bytes:
    wrapped = secrets.token_bytes(scene.suite.wrap_size)
    return scene.attempt(entry=pack_entry(scene.suite, scene.alice.provider_id, scene.to_alice.key_id, wrapped))


def body_with_a_broken_tag(scene: Scene) -> bytes:
    """The sealer itself breaks the body's tag and binds the broken body."""
    body = scene.body[:-1] + bytes([scene.body[-1] ^ 1])
    return scene.attempt(entry=scene.forger.entry(scene.to_alice, body), body=body)


def key_endorsed_by_other_provider_id_rewritten(scene: Scene) -> bytes:
    """Mallory endorses Alice's key; the relay rewrites Mallory's id to Alice's."""
    mallory = replace(scene.to_alice, provider_id=bytes(32))
    entry = scene.entry(mallory)
    return scene.attempt(entry=entry[:4] + scene.alice.provider_id + entry[36:])


OPEN_FAILED: dict[str, Callable[[Scene], bytes]] = {
    "wrap_from_other_request": wrap_from_other_request,
    "body_from_other_request": body_from_other_request,
    "model_swapped": lambda scene: scene.with_header(model="other"),
    "output_bound_raised": lambda scene: scene.with_header(max_output_tokens=32),
    "trust_floor_lowered": lambda scene: scene.with_header(trust="self_signed"),
    "endpoint_swapped": lambda scene: scene.with_header(endpoint="/v1/completions"),
    "expiry_extended": lambda scene: scene.with_header(exp=NOW + 181),
    "id_replaced": lambda scene: scene.with_header(id=bytes(16)),
    "insider_substitutes_body": insider_substitutes_body,
    "two_content_keys": two_content_keys,
    "garbage_wrap": garbage_wrap,
    "body_with_a_broken_tag": body_with_a_broken_tag,
    "key_endorsed_by_other_provider_id_rewritten": key_endorsed_by_other_provider_id_rewritten,
}


@SUITES
@pytest.mark.parametrize("name", OPEN_FAILED)
def test_an_envelope_whose_parts_do_not_belong_together_does_not_open(name: str, suite: Suite) -> None:
    scene = Scene(suite)
    with pytest.raises(SealingError) as caught:
        scene.alice.open(OPEN_FAILED[name](scene))
    assert caught.value.error_code == "open_failed"


@SUITES
def test_the_scene_opens_when_nobody_meddles(suite: Suite) -> None:
    scene = Scene(suite)
    assert scene.alice.open(scene.attempt()).data == DATA


NOT_MINE: dict[str, tuple[Callable[[Scene], bytes], str]] = {
    "wrap_of_other_provider": (lambda scene: scene.attempt(entry=scene.entry(scene.to_bob)), "not_for_me"),
    "key_endorsed_by_other_provider": (
        lambda scene: scene.attempt(entry=scene.entry(replace(scene.to_alice, provider_id=bytes(32)))),
        "not_for_me",
    ),
    "provider_id_rewritten": (
        lambda scene: scene.attempt(
            entry=scene.entry(scene.to_bob).replace(scene.bob.provider_id, scene.alice.provider_id)
        ),
        "unknown_key",
    ),
    "key_id_of_other_suite": (
        lambda scene: scene.attempt(
            entry=pack_entry(
                scene.suite,
                scene.alice.provider_id,
                scene.alice.recipient(Suite(scene.suite % 3 + 1)).key_id,
                bytes(scene.suite.wrap_size),
            )
        ),
        "unknown_key",
    ),
}


@SUITES
@pytest.mark.parametrize("name", NOT_MINE)
def test_an_envelope_for_another_provider_or_key_is_told_apart(name: str, suite: Suite) -> None:
    build, code = NOT_MINE[name]
    scene = Scene(suite)
    with pytest.raises(SealingError) as caught:
        scene.alice.open(build(scene))
    assert caught.value.error_code == code


def test_a_key_that_was_rotated_away_is_unknown_after_its_grace_and_opens_before() -> None:
    case = "key_rotated_away"
    home = BenchProvider()
    recipient = home.recipient()
    home.keyring.rotate(NOW + 1800)
    expires_at = NOW + 3600
    last = seal_to(recipient, now=expires_at - 1, life=300)
    assert home.open(last.raw, now=expires_at - 1 + 300 + 119).data == DATA
    destroyed_at = expires_at + 420
    late = seal_to(replace(recipient, expires_at=destroyed_at + 1), now=destroyed_at)
    with pytest.raises(SealingError) as caught:
        home.open(late.raw, now=destroyed_at)
    assert caught.value.error_code == "unknown_key", case


@SUITES
def test_an_envelope_with_any_byte_changed_does_not_open(suite: Suite) -> None:
    case = "every_byte_flipped"
    home = BenchProvider()
    raw = seal_to(home.recipient(suite)).raw
    for position in range(len(raw)):
        changed = bytearray(raw)
        changed[position] ^= 1 << position % 8
        assert refusal(home, bytes(changed)) is not None, (case, position)
    assert home.open(raw).data == DATA


def refusal(home: BenchProvider, raw: bytes) -> str | None:
    try:
        home.open(raw)
    except SealingError as error:
        return error.error_code
    return None


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31), ORDER_EIGHT], ids=["zero", "one", "order_eight"])
def test_a_box_under_an_ephemeral_key_of_low_order_does_not_open(point: bytes) -> None:
    case = "nacl_low_order_ephemeral"
    scene = Scene(Suite.NACL_BOX)
    wrapped = point + secrets.token_bytes(24 + 112)
    entry = pack_entry(Suite.NACL_BOX, scene.alice.provider_id, scene.to_alice.key_id, wrapped)
    with pytest.raises(SealingError) as caught:
        scene.alice.open(scene.attempt(entry=entry))
    assert caught.value.error_code == "open_failed", case


@pytest.mark.parametrize("tail", [bytes(32), sha256(b"another context")], ids=["nothing", "another"])
def test_a_box_that_holds_another_context_does_not_open(tail: bytes) -> None:
    case = "nacl_without_context"
    scene = Scene(Suite.NACL_BOX)
    public, private = sodium.crypto_box_keypair()
    nonce = secrets.token_bytes(24)
    secret = scene.forger.content_key + scene.forger.reply_key
    boxed = sodium.crypto_box(secret + tail, nonce, scene.to_alice.public_key, private)
    entry = pack_entry(Suite.NACL_BOX, scene.alice.provider_id, scene.to_alice.key_id, public + nonce + boxed)
    with pytest.raises(SealingError) as caught:
        scene.alice.open(scene.attempt(entry=entry))
    assert caught.value.error_code == "open_failed", case


@pytest.mark.parametrize("suite", [Suite.HPKE_X25519, Suite.HPKE_MLKEM768_X25519])
def test_an_hpke_wrap_of_another_context_does_not_open(suite: Suite) -> None:
    scene = Scene(suite)
    context = derivations.wrap_context(suite, scene.alice.provider_id, scene.to_alice.key_id, bytes(32))
    wrapped = wrap(suite, scene.to_alice.public_key, bytes(64), context=context)
    entry = pack_entry(suite, scene.alice.provider_id, scene.to_alice.key_id, wrapped)
    with pytest.raises(SealingError) as caught:
        scene.alice.open(scene.attempt(entry=entry))
    assert caught.value.error_code == "open_failed"


def test_one_ciphertext_made_to_authenticate_under_two_keys_opens_for_the_committed_one_alone() -> None:
    case = "gcm_collision_two_keys"
    scene = Scene(Suite.NACL_BOX)
    header = scene.forger.header_bytes
    committed, other = scene.forger.content_key, bytes(32)
    keys = [derivations.body_key(content_key, header) for content_key in (committed, other)]
    body = collide(keys[0], keys[1], header)
    for key in keys:
        AESGCM(key).decrypt(derivations.BODY_NONCE, body, header)

    def attempt(home: BenchProvider, recipient: Recipient, content_key: bytes) -> OpenedRequest:
        entry = scene.forger.entry(recipient, body, secret=content_key + bytes(32))
        return home.open(pack_envelope(header, [entry], body))

    assert attempt(scene.alice, scene.to_alice, committed).data.startswith(b"prompt")
    with pytest.raises(SealingError) as caught:
        attempt(scene.bob, scene.to_bob, other)
    assert caught.value.error_code == "open_failed", case


def collide(first: bytes, second: bytes, aad: bytes) -> bytes:
    """Return one ciphertext and tag that AES-GCM accepts under both keys, the zero nonce and `aad`.

    Under `first` it opens to a body whose data is `prompt` and 16 arbitrary bytes: the ciphertext block of those is
    what makes the tags equal, found by solving GHASH, which is linear, for it.
    """
    plaintext = pack_plaintext(b"{}", b"prompt" + bytes(16))
    block_zero = AESGCM(first).encrypt(derivations.BODY_NONCE, plaintext, aad)[:16]
    squares, constants = [], []
    for key in (first, second):
        hash_key = int.from_bytes(aes_block(key, bytes(16)), "big")
        squares.append(gf_multiply(hash_key, hash_key))
        mask = int.from_bytes(aes_block(key, derivations.BODY_NONCE + b"\0\0\0\1"), "big")
        constants.append(ghash(hash_key, aad, block_zero + bytes(16)) ^ mask)
    solved = gf_multiply(constants[0] ^ constants[1], gf_inverse(squares[0] ^ squares[1]))
    tag = constants[0] ^ gf_multiply(solved, squares[0])
    return block_zero + solved.to_bytes(16, "big") + tag.to_bytes(16, "big")


def aes_block(key: bytes, block: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)


def ghash(hash_key: int, aad: bytes, ciphertext: bytes) -> int:
    lengths = struct.pack(">QQ", 8 * len(aad), 8 * len(ciphertext))
    blocks = aad + bytes(-len(aad) % 16) + ciphertext + bytes(-len(ciphertext) % 16) + lengths
    state = 0
    for start in range(0, len(blocks), 16):
        state = gf_multiply(state ^ int.from_bytes(blocks[start : start + 16], "big"), hash_key)
    return state


def gf_multiply(left: int, right: int) -> int:
    """Multiply in GCM's field, bits in its reflected order (NIST SP 800-38D section 6.3)."""
    product = 0
    for bit in range(127, -1, -1):
        if left >> bit & 1:
            product ^= right
        right = right >> 1 ^ (0xE1 << 120 if right & 1 else 0)
    return product


def gf_inverse(value: int) -> int:
    result, power = 1 << 127, value
    for _ in range(127):
        power = gf_multiply(power, power)
        result = gf_multiply(result, power)
    return result
