"""What the relay bench is asked for is looked at before anything starts."""

import argparse

import pytest
from bench.relay.__main__ import read
from bench.relay.arguments import count, quantity
from bench.relay.parts import PARTS
from bench.relay.profile.__main__ import main as profile
from bench.relay.rounds import LOADS
from bench.relay.systems import SYSTEMS


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        read(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_a_quick_comparison_is_of_systems_and_writes_nothing() -> None:
    for arguments in (["--only", "nginx"], ["--only", "nginx", "--parts", "systems"]):
        plan, parts = read(arguments)
        assert (plan.systems, plan.is_whole, parts) == (("nginx",), False, ("systems",))


@pytest.mark.parametrize("parts", ["ttft", "systems,ttft"])
def test_a_quick_comparison_does_not_pass_over_other_parts(parts: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--only is for the part `systems`" in refused(capsys, "--only", "nginx", "--parts", parts)


def test_a_result_has_every_load(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--loads goes with --only" in refused(capsys, "--loads", "paced")
    assert read(["--only", "nginx", "--loads", "paced"])[0].loads == ("paced",)
    assert read(["--only", "nginx, direct"])[0].systems == ("nginx", "direct")
    plan, parts = read([])
    assert (plan.loads, parts) == (LOADS, PARTS)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "-inf", "", "many"])
@pytest.mark.parametrize("kind", [count, quantity])
def test_numbers_are_finite_and_above_zero(kind: type, text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="above 0"):
        kind(text)


def test_numbers_in_range_are_taken() -> None:
    assert (count("3"), quantity("0.5")) == (3, 0.5)
    with pytest.raises(argparse.ArgumentTypeError, match="whole"):
        count("1.5")


@pytest.mark.parametrize("name", ["--rounds", "--seconds", "--streams", "--rate"])
def test_a_number_out_of_range_is_the_parsers_error(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"argument {name}: '0' is not" in refused(capsys, name, "0")


@pytest.mark.parametrize("name", ["--seconds", "--streams", "--links", "--rate"])
def test_the_profile_has_the_same_numbers(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["profile", name, "-1"])
    with pytest.raises(SystemExit):
        profile()
    assert f"argument {name}: '-1' is not" in capsys.readouterr().err


def test_the_help_names_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    for names in (PARTS, LOADS, SYSTEMS):
        assert f"some of {', '.join(names)}" in said
    assert said.count("(default:") == 7
