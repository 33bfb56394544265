"""llama.cpp in this process: one `xllamacpp.Server`, the threads that wait on it, and its private control socket.

Answers come through callbacks on our own threads, one a running request; a callback that returns True makes llama.cpp
cancel the request. So that a callback comes soon even while a prompt is read, every request asks for progress chunks,
one a batch. Token counts and health have no callback: they go over HTTP on a Unix socket that only this process can
reach (a directory of mode 0700, and a random key).
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import xllamacpp

from hushnet.foundation.errors import RequestError
from hushnet.provider.engines.base import EngineFailed

COPIED_BYTES_MAX = 256 << 20
"""Smaller files are read into memory: one that is rewritten while it is mapped takes this process with it (SIGBUS)."""

CONTROL_TIMEOUT_S = 10.0
"""A health check passes through the engine's own queue, so it may wait for one batch of a slow model."""


@dataclass(frozen=True, slots=True)
class NativeSettings:
    """How to start llama.cpp. `context_tokens` is per slot; `batch_tokens` bounds one uninterruptible step."""

    path: Path
    slots: int
    context_tokens: int
    threads: int
    batch_tokens: int


class NativeServer:
    """A running llama.cpp. Made by `start`; `stop` must be called, and only after every stream has ended."""

    def __init__(self, server: Any, client: httpx.AsyncClient, directory: Path, slots: int) -> None:
        self._server = server
        self._client = client
        self._directory = directory
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="llamacpp")

    @classmethod
    async def start(cls, settings: NativeSettings) -> NativeServer:
        """Load the model; raises `EngineFailed` when llama.cpp will not."""
        directory = Path(tempfile.mkdtemp(prefix="hush-"))
        socket, key = directory / "engine.sock", secrets.token_hex(32)
        try:
            params = _params(settings, socket=socket, key=key)
            server = await asyncio.to_thread(xllamacpp.Server, params)
        except BaseException as error:
            shutil.rmtree(directory, ignore_errors=True)
            if not isinstance(error, RuntimeError | ValueError | OSError):
                raise
            raise _not_loaded(settings.path) from None
        client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(socket)),
            base_url="http://engine",
            # A kept connection holds one of its few threads for 5 s after the answer, and is closed when it likes.
            headers={"authorization": f"Bearer {key}", "connection": "close"},
            timeout=CONTROL_TIMEOUT_S,
        )
        return cls(server, client, directory, settings.slots)

    async def stop(self) -> None:
        """Free the model and remove the socket."""
        await self._client.aclose()
        self._threads.shutdown(wait=False)
        self._server = None
        shutil.rmtree(self._directory, ignore_errors=True)

    def stream(self, body: dict[str, Any]) -> Stream:
        """Start a chat completion on one of our threads."""
        return Stream(self._server, msgspec.json.encode(body), self._threads)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Ask llama.cpp over the control socket; returns the decoded answer."""
        return _decoded(await self._request("POST", path, body))

    async def get(self, path: str) -> Any:
        """Read from the control socket; returns the decoded answer."""
        return _decoded(await self._request("GET", path, None))

    async def answers(self) -> bool:
        """Say whether the inference loop itself still takes work: its counters come from within that loop."""
        try:
            return (await self._request("GET", "/metrics", None)).status_code == httpx.codes.OK
        except EngineFailed:
            return False

    async def _request(self, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
        try:
            return await self._client.request(method, path, json=body)
        except httpx.HTTPError:
            raise EngineFailed("llama.cpp does not answer") from None


def _not_loaded(path: Path) -> EngineFailed:
    """Say which file it was, and how long: most files that do not load were cut short on their way."""
    size = path.stat().st_size if path.is_file() else 0
    return EngineFailed(
        f"llama.cpp could not load {path.name} ({size} bytes)",
        code="model_load_failed",
        hint="The file may be incomplete: compare its size with the original's. If it is whole, this machine has too little "
        "memory for it (fewer --slots or --context-tokens need less), or llama.cpp does not know its architecture.",
    )


class Stream:
    """One request inside llama.cpp: chunks cross from its thread to the event loop in batches.

    The engine's thread wakes the loop only when the loop has taken everything before, so that a fast engine costs one
    wake-up for many tokens. Dropping interest (`cancel`) makes the next callback stop the request.
    """

    def __init__(self, server: Any, body: bytes, threads: ThreadPoolExecutor) -> None:
        self._loop = asyncio.get_running_loop()
        self._chunks: deque[bytes] = deque()
        self._is_wake_pending = False
        self._is_cancelled = False
        self._has_ended = False
        self._awake = asyncio.Event()
        self.ended = self._loop.run_in_executor(threads, self._run, server, body)
        """Done when llama.cpp has let go of the request; awaiting it is safe from anywhere."""
        self.ended.add_done_callback(self._note_end)

    def cancel(self) -> None:
        """Stop the request at the engine's next sign of life."""
        self._is_cancelled = True

    async def next_batch(self) -> list[bytes] | None:
        """Wait for chunks and return all that are there; None at the end. Raises `RequestError` for a refused body."""
        while not self._chunks:
            if self._has_ended:
                self.ended.result()
                return None
            await self._awake.wait()
            self._awake.clear()
            self._is_wake_pending = False  # before looking: what comes after the look wakes us again
        return [self._chunks.popleft() for _ in range(len(self._chunks))]

    def _note_end(self, ended: asyncio.Future[None]) -> None:
        self._has_ended = True
        self._awake.set()
        if not ended.cancelled():
            ended.exception()  # seen: nobody else looks when the request was cancelled

    def _run(self, server: Any, body: bytes) -> None:
        if self._is_cancelled:
            return
        try:
            server.handle_chat_completions(body, self._arrived)
        except (RuntimeError, ValueError, IndexError):
            raise RequestError("the engine does not take this request", code="engine_refused") from None

    def _arrived(self, chunk: bytes) -> bool:
        """Take one chunk, on the engine's thread; True cancels."""
        self._chunks.append(chunk)
        if not self._is_wake_pending:
            self._is_wake_pending = True
            self._loop.call_soon_threadsafe(self._awake.set)
        return self._is_cancelled


def _params(settings: NativeSettings, *, socket: Path, key: str) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(settings.path)
    params.n_parallel = settings.slots
    params.n_ctx = settings.context_tokens * settings.slots
    params.n_batch = params.n_ubatch = settings.batch_tokens
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
    params.hostnames = [str(socket)]
    params.api_keys = [key]
    params.cors_origins = "http://engine"
    params.n_threads_http = 4
    params.endpoint_slots = False
    params.endpoint_metrics = True
    params.ui = False
    params.offline = True
    if settings.path.stat().st_size <= COPIED_BYTES_MAX:
        params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    params.verbosity = -1  # nothing is logged: llama.cpp's messages quote prompts
    params.warmup = False  # loading holds the interpreter lock; the probes warm the model up without it
    params.cache_ram_mib = 0  # no copies of old prompts
    params.reasoning_format = xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_NONE
    return params


def _decoded(response: httpx.Response) -> Any:
    if response.status_code != httpx.codes.OK:
        if response.status_code == httpx.codes.BAD_REQUEST:
            raise RequestError("the engine does not take this request", code="engine_refused")
        raise EngineFailed("llama.cpp answered with an error")
    return msgspec.json.decode(response.content)
