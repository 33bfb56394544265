"""A facilitator and a node over real HTTP: the official package's facilitator on a chain in memory, with faults and lies.

`faults` are used up one a settlement (`verify_faults` one a verification): `reset` and `hang` break off or say nothing, `500`, `429`,
`garbage`, `huge`, `redirect` say nothing to the point, each `_before` or `_after` the transfer was made; `lies` answer success or
refusal whatever is true.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.x402_chain import CHAIN_ID, FACILITATOR, ChainSigner, FakeChain
from support.x402_peer import (
    ExactFacilitator,
    ExactFacilitatorV1,
    PaymentPayload,
    PaymentPayloadV1,
    PaymentRequirements,
    PaymentRequirementsV1,
    UptoFacilitator,
)

_NETWORK = f"eip155:{CHAIN_ID}"
STRANGER = "0x" + "66" * 20
_LIES: dict[str, dict[str, Any]] = {
    "lie_success": {"success": True, "transaction": "0x" + "ab" * 32},
    "lie_no_transaction": {"success": True, "transaction": ""},
    "lie_payer": {"payer": STRANGER},
    "lie_network": {"network": "eip155:1"},
    "lie_amount": {"amount": "1"},
    "lie_refused": {"success": False, "transaction": "", "errorReason": "insufficient_funds"},
    "lie_failed": {"success": False, "transaction": "", "errorReason": "transaction_failed"},
}
_VERIFY_LIES: dict[str, dict[str, Any]] = {
    "lie_payer": {"payer": STRANGER},
    "lie_invalid": {"isValid": False, "invalidReason": "insufficient_funds"},
    "script": {"isValid": False, "invalidReason": "<script>alert(1)</script>"},
}


@dataclass
class FacilitatorServer:
    """Serves `/verify`, `/settle`, `/supported` and the node's `/rpc`."""

    chain: FakeChain
    url: str = ""
    faults: list[str] = field(default_factory=list)
    verify_faults: list[str] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Every verification and settlement that was asked for."""
    kinds: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"x402Version": 2, "scheme": "exact", "network": _NETWORK},
            {"x402Version": 2, "scheme": "upto", "network": _NETWORK, "extra": {"facilitatorAddress": FACILITATOR}},
            {"x402Version": 1, "scheme": "exact", "network": "base-sepolia"},
        ]
    )
    released: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        signer = ChainSigner(self.chain)
        self._exact, self._exact_v1 = ExactFacilitator(signer), ExactFacilitatorV1(signer)  # type: ignore[arg-type]
        self._upto = UptoFacilitator(signer)  # type: ignore[arg-type]
        self._lock = threading.Lock()

    @contextmanager
    def running(self) -> Generator[FacilitatorServer, None, None]:
        """Serve on a free port until the block ends."""
        facilitator = self

        class Handler(_Handler):
            server_state = facilitator

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.released.set()
            server.shutdown()
            server.server_close()
            thread.join()

    @property
    def settlements(self) -> int:
        """How many settlements were asked for."""
        return sum(what == "settle" for what, _ in self.asked)

    def answer(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        """Answer as the official facilitator does."""
        scheme, payload, requirements = self._read(body)
        with self._lock:
            told = scheme.verify(payload, requirements) if what == "verify" else scheme.settle(payload, requirements)
        answer: dict[str, Any] = told.model_dump(by_alias=True, exclude_none=True)
        return answer

    def _read(self, body: dict[str, Any]) -> tuple[Any, Any, Any]:
        if body["x402Version"] == 1:
            payload = PaymentPayloadV1.model_validate(body["paymentPayload"])
            return self._exact_v1, payload, PaymentRequirementsV1.model_validate(body["paymentRequirements"])
        requirements = PaymentRequirements.model_validate(body["paymentRequirements"])
        scheme = self._upto if requirements.scheme == "upto" else self._exact
        return scheme, PaymentPayload.model_validate(body["paymentPayload"]), requirements

    def supported(self) -> dict[str, Any]:
        return {"kinds": self.kinds, "extensions": [], "signers": {"eip155:*": [FACILITATOR]}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: FacilitatorServer

    def do_GET(self) -> None:
        self._send(200, json.dumps(self.server_state.supported()).encode())

    def do_POST(self) -> None:
        state = self.server_state
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        what = self.path.lstrip("/")
        if what == "rpc":
            self._rpc(body)
            return
        state.asked.append((what, body))
        queue = state.faults if what == "settle" else state.verify_faults
        fault = queue.pop(0) if queue else ""
        if fault.endswith("_before"):
            self._fail(fault.removesuffix("_before"))
            return
        if fault in ("lie_success", "lie_no_transaction"):
            answer = {"success": True, "network": f"eip155:{CHAIN_ID}"}  # and nothing was transferred
        else:
            answer = state.answer(what, body)
        if fault.endswith("_after"):
            self._fail(fault.removesuffix("_after"))
            return
        answer |= (_LIES if what == "settle" else _VERIFY_LIES).get(fault, {})
        self._send(200, json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass

    def _rpc(self, body: dict[str, Any]) -> None:
        if self.server_state.chain.is_down:
            self._send(503, b"{}")
            return
        result = self.server_state.chain.answer(body["method"], body["params"])
        self._send(200, json.dumps({"jsonrpc": "2.0", "id": body["id"], "result": result}).encode())

    def _fail(self, how: str) -> None:
        if how == "reset":
            self.close_connection = True
            self.connection.close()
        elif how == "hang":
            self.server_state.released.wait(60)
            self.close_connection = True
        elif how == "redirect":
            self._send(302, b"", location="http://127.0.0.1:1/settle")
        elif how == "garbage":
            self._send(200, b'{"success": "yes"')
        elif how == "huge":
            self._send(200, b" " * 70_000 + b"{}")
        else:
            self._send(int(how), b'{"success": false, "errorReason": "unexpected_error"}')

    def _send(self, status: int, body: bytes, *, location: str = "") -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        if location:
            self.send_header("location", location)
        self.end_headers()
        self.wfile.write(body)
