"""Addresses per coin and network: published vectors pass, and everything that is nearly one is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hushnet.coordinator.payments.coins.addresses import TAG_MAX, AddressError, Destination, check_address
from hushnet.coordinator.payments.coins.assets import PAIRS, pair_named

BTC_OLD, BTC_SCRIPT = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy"
BTC_KEY = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"  # BIP 173
BTC_WSH = "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3"  # BIP 173
BTC_TAPROOT = "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"  # BIP 86
BCH = "bitcoincash:qpm2qsznhks23z7629mms6s4cwef74vcwvy22gdx6a"
EVM = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"  # EIP-55
SOL = "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z"  # the first public key of RFC 8032
XRP, XRP_X, XRP_X_1 = (  # XLS-5
    "r9cZA1mLK5R5Am25ArfXFmqgNwjZgnfk59",
    "X7AcgcsBL6XDcUb289X4mJ8djcdyKaB5hJDWMArnXr61cqZ",
    "X7AcgcsBL6XDcUb289X4mJ8djcdyKaGZMhc9YTE92ehJ2Fu",
)
ADA_BASE = (  # CIP-19
    "addr1qx2fxv2umyhttkxyxp8x0dlpdt3k6cwng5pxj3jhsydzer3n0d3vllmyqwsx5wktcd8cc3sq835lu7drv2xwl2wywfgse35a3x"
)
ADA_ENTERPRISE = "addr1vx2fxv2umyhttkxyxp8x0dlpdt3k6cwng5pxj3jhsydzers66hrl8"
ADA_BYRON = "Ae2tdPwUPEZFRbyhz3cpfC2CumGzNkFBN2L42rcUc2yjQpEkxDbkPodpMAi"
DOGE = "DH5yaieqoZN36fDVciNyRueRGvGLR3mr7L"

VALID = [
    ("BTC.bitcoin", BTC_OLD, BTC_OLD),
    ("BTC.bitcoin", BTC_SCRIPT, BTC_SCRIPT),
    ("BTC.bitcoin", BTC_KEY, BTC_KEY),
    ("BTC.bitcoin", BTC_KEY.upper(), BTC_KEY),
    ("BTC.bitcoin", BTC_WSH, BTC_WSH),
    ("BTC.bitcoin", BTC_TAPROOT, BTC_TAPROOT),
    ("BCH.bitcoin-cash", BCH, BCH),
    ("BCH.bitcoin-cash", BCH.partition(":")[2], BCH),
    ("ETH.ethereum", EVM, EVM),
    ("ETH.ethereum", EVM.lower(), EVM),
    ("POL.polygon", EVM, EVM),
    ("BNB.bsc", EVM, EVM),
    ("USDC.base", EVM.lower(), EVM),
    ("USDT.ethereum", EVM, EVM),
    ("SOL.solana", SOL, SOL),
    ("USDC.solana", SOL, SOL),
    ("ADA.cardano", ADA_BASE, ADA_BASE),
    ("ADA.cardano", ADA_ENTERPRISE, ADA_ENTERPRISE),
    ("ADA.cardano", ADA_BYRON, ADA_BYRON),
    ("DOGE.dogecoin", DOGE, DOGE),
]


@pytest.mark.parametrize(("pair", "address", "stored"), VALID)
def test_a_valid_address_is_stored_in_one_form(pair: str, address: str, stored: str) -> None:
    assert check_address(pair_named(pair), address) == Destination(stored)


def has_checksum(pair: str, address: str) -> bool:
    """Solana's addresses carry none, nor do those of EIP-55 in lower case."""
    return not pair.endswith(".solana") and address != EVM.lower()


@pytest.mark.parametrize(
    ("pair", "address"), [(pair, address) for pair, address, _ in VALID if has_checksum(pair, address)]
)
def test_a_changed_character_is_refused(pair: str, address: str) -> None:
    middle = len(address) // 2
    for place in (middle, len(address) - 1):
        other = next(
            letter for letter in "q9Ez" if letter != address[place] and letter.lower() != address[place].lower()
        )
        other = other.upper() if address == address.upper() else other
        with pytest.raises(AddressError):
            check_address(pair_named(pair), address[:place] + other + address[place + 1 :])


def test_an_address_passes_on_no_network_but_its_own() -> None:
    groups = {
        "bitcoin": [BTC_OLD, BTC_KEY, BTC_TAPROOT],
        "bitcoin-cash": [BCH],
        "solana": [SOL],
        "cardano": [ADA_BASE, ADA_BYRON],
        "dogecoin": [DOGE],
        "evm": [EVM],
        "ripple": [XRP_X_1],
    }
    for pair in PAIRS:
        for family, addresses in groups.items():
            for address in addresses:
                if family == pair.family.value:
                    check_address(pair, address)
                else:
                    with pytest.raises(AddressError):
                        check_address(pair, address)


@pytest.mark.parametrize(
    ("pair", "address"),
    [
        ("BTC.bitcoin", "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"),  # testnet
        ("BTC.bitcoin", "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"),  # testnet, old form
        ("BTC.bitcoin", "2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc"),  # testnet, script
        ("BTC.bitcoin", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd"),  # taproot in bech32
        ("BTC.bitcoin", "BC1SW50QGDZ25J"),  # a witness version of the future
        ("BTC.bitcoin", "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs"),  # another
        ("BTC.bitcoin", BTC_KEY[:10] + BTC_KEY[10:].upper()),  # mixed case
        ("BTC.bitcoin", " " + BTC_KEY),
        ("BTC.bitcoin", BTC_KEY + "\n"),
        ("BTC.bitcoin", BTC_OLD.replace("P", "Р")),  # a Cyrillic letter that looks the same
        ("BTC.bitcoin", "bitcoin:" + BTC_KEY),
        ("BTC.bitcoin", "1" * 100_000),
        ("BTC.bitcoin", "1" * 34),
        ("BTC.bitcoin", ""),
        ("BCH.bitcoin-cash", BTC_OLD),  # valid on both, so it says nothing
        ("BCH.bitcoin-cash", "bchtest:qpm2qsznhks23z7629mms6s4cwef74vcwvqcw003ap"),
        ("ETH.ethereum", EVM.swapcase()),
        ("ETH.ethereum", EVM.upper()),
        ("ETH.ethereum", "0x" + EVM[2:].upper()),
        ("ETH.ethereum", EVM[2:]),
        ("ETH.ethereum", EVM + "00"),
        ("ETH.ethereum", "0x" + "0" * 40),
        ("SOL.solana", "11111111111111111111111111111111"),  # the system program
        ("SOL.solana", "8qbHbw2BbbTHBW1sbeqakYXVKRQM8Ne7pLK7m6CVfeR"),  # off the curve, as accounts of programs are
        ("SOL.solana", SOL[:-2]),
        ("ADA.cardano", "addr_test1vz2fxv2umyhttkxyxp8x0dlpdt3k6cwng5pxj3jhsydzerspjrlsz"),
        ("ADA.cardano", "stake1uyehkck0lajq8gr28t9uxnuvgcqrc6070x3k9r8048z8y5gh6ffgw"),
        ("ADA.cardano", "2cWKMJemoBajc46Wu4Z7e6bG48myZWfB7Z6pD77L6PrJQWt9HZ3Yv7o8CYZTBMqHTPTkv"),
        ("DOGE.dogecoin", "nmQDZZP5nEwqNtrUnBBdcNyMYQ2wSADDpv"),
        ("DOGE.dogecoin", BTC_OLD),
        ("XRP.ripple", "T719a5UwUCnEs54UsxG9CJYYDhwmFCqkr7wxCcNcfZ6p5GZ"),
        ("XRP.ripple", BTC_OLD),
    ],
)
def test_what_only_looks_like_an_address_is_refused(pair: str, address: str) -> None:
    with pytest.raises(AddressError) as refused:
        check_address(pair_named(pair), address)
    assert refused.value.error_code == "bad_address"
    assert not address or address[:12] not in str(refused.value)


def test_xrp_needs_its_tag() -> None:
    xrp = pair_named("XRP.ripple")
    with pytest.raises(AddressError) as refused:
        check_address(xrp, XRP)
    assert refused.value.error_code == "missing_tag"
    assert check_address(xrp, XRP, 0) == Destination(XRP, 0)
    assert check_address(xrp, XRP, TAG_MAX) == Destination(XRP, TAG_MAX)
    assert check_address(xrp, XRP_X) == Destination(XRP, None)
    assert check_address(xrp, XRP_X_1) == Destination(XRP, 1)
    assert check_address(xrp, XRP_X_1, 1) == Destination(XRP, 1)
    for address, tag in ((XRP_X_1, 2), (XRP_X, 1), (XRP, -1), (XRP, TAG_MAX + 1), (XRP, True)):
        with pytest.raises(AddressError) as refused:
            check_address(xrp, address, tag)
        assert refused.value.error_code == "bad_tag"


def test_a_tag_belongs_to_xrp_only() -> None:
    with pytest.raises(AddressError) as refused:
        check_address(pair_named("BTC.bitcoin"), BTC_KEY, 7)
    assert refused.value.error_code == "bad_tag"


def test_the_address_library_is_loaded_by_the_first_check_only() -> None:
    script = "import sys, hushnet.coordinator.payments.coins.addresses; sys.exit('bip_utils' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
