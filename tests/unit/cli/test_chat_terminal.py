"""A conversation at a terminal: what is a message, what ends it, and what Ctrl-C stops."""

from __future__ import annotations

import os
import readline
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.terminal import Terminal

TESTS = Path(__file__).parents[2]
CONVERSATION = """
import itertools, pathlib, threading, httpx
from hushnet.cli.chat import Conversation
from hushnet.foundation.redaction import Secret
from hushnet.sdk.client import Client
from hushnet.sdk.settings import ConsumerSettings
from support.sealing_peer import Peer, manual_clock
peer, numbers = Peer(), itertools.count(1)
def listen(request):
    if request.method == "POST" and next(numbers) == HANGS:
        print("waits", flush=True)
        threading.Event().wait()  # a peer that never answers: only the interrupt ends it
    response = peer(request)
    if request.method == "POST":
        print("asked:", repr(__import__("json").loads(peer.opened[-1].data)["messages"][-1]["content"]), flush=True)
    return response
settings = ConsumerSettings("http://127.0.0.1:8470", Secret("hk_user_1_secret"), "hushnet-local", pathlib.Path())
client = Client(settings=settings, http_client=httpx.Client(transport=httpx.MockTransport(listen)))
client.session.clock = manual_clock()
talk = Conversation(client, "tiny")
talk.run()
print("messages:", len(talk.messages))
"""


def converse(hangs: int = 0) -> Terminal:
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "TERM": "xterm"}
    return Terminal([sys.executable, "-c", CONVERSATION.replace("HANGS", str(hangs))], environment)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with converse() as opened:
        assert "empty line" not in opened.read_until("you> ")
        yield opened


def test_a_pasted_text_is_one_message_with_its_empty_lines(terminal: Terminal) -> None:
    terminal.type("first\n\nrm -rf nothing\n")
    terminal.read_until(r"asked: 'first\n\nrm -rf nothing'")
    terminal.read_until("you> ")
    terminal.type("\x04")
    terminal.read_until("messages: 2")


@pytest.mark.skipif("libedit" in (readline.__doc__ or ""), reason="libedit knows no brackets")
def test_a_paste_in_brackets_waits_for_enter(terminal: Terminal) -> None:
    terminal.type("\x1b[200~one\n\ntwo\x1b[201~")
    terminal.read_until("two")
    terminal.type("\n")
    terminal.read_until(r"asked: 'one\n\ntwo'")


def test_an_empty_line_is_ignored_and_quit_ends(terminal: Terminal) -> None:
    terminal.type("\n")
    terminal.read_until("you> ")
    terminal.type("hello\n")
    terminal.read_until("asked: 'hello'")
    terminal.read_until("you> ")
    terminal.type("/quit\n")
    terminal.read_until("messages: 2")
    assert terminal.process.wait(30) == 0


def test_ctrl_c_at_the_prompt_clears_the_line(terminal: Terminal) -> None:
    terminal.type("not this")
    terminal.read_until("not this")
    terminal.interrupt_until("Ctrl-D ends")
    terminal.read_until("you> ")
    terminal.type("this\n")
    terminal.read_until("asked: 'this'")


def test_ctrl_c_before_the_answer_stops_the_question_and_not_the_conversation() -> None:
    with converse(hangs=1) as terminal:
        terminal.read_until("you> ")
        terminal.type("hello\n")
        terminal.read_until("waits")
        terminal.interrupt_until("stopped before an answer")
        terminal.read_until("you> ")
        terminal.type("again\n")
        terminal.read_until("asked: 'again'")
        terminal.read_until("you> ")
        terminal.type("\x04")
        terminal.read_until("messages: 2")


def test_the_line_before_comes_back_with_the_arrow(terminal: Terminal) -> None:
    terminal.type("hello\n")
    terminal.read_until("asked: 'hello'")
    terminal.read_until("you> ")
    terminal.type("\x1b[A")
    terminal.read_until("hello")
    terminal.type("!\n")
    terminal.read_until("asked: 'hello!'")
