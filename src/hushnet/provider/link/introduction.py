"""What a provider says about itself on a link: registration, answers to challenges, capacity, models, statements."""

from __future__ import annotations

import msgspec

from hushnet.foundation.redaction import Secret
from hushnet.provider.link.contract import AgentDescription
from hushnet.sealing.statements import Statement, read_payload
from hushnet.wire.challenge import challenge_message
from hushnet.wire.frames import Hello, ModelOffer, StatementDocument
from hushnet.wire.provider_session import ProviderSession


class Introduction:
    """Turns an agent into frames of one session. Whatever the agent raises comes through; the shell logs its type."""

    def __init__(self, agent: AgentDescription, token: Secret, session: ProviderSession) -> None:
        self._agent = agent
        self._token = token
        self._session = session
        self._announced: Statement | None = None
        self._offers: tuple[ModelOffer, ...] = ()

    def register(self, hello: Hello) -> bool:
        """Answer the hello; False, and nothing sent, when it comes from another network."""
        if hello.network != self._agent.network():
            return False
        statement = self._agent.statement()
        self._offers = tuple(self._agent.models())
        self._session.register(
            token=self._token,
            agent_version=self._agent.agent_version,
            statement=document_of(statement),
            models=self._offers,
            capacity=self._agent.capacity(),
            challenge_signature=self._sign(hello.nonce, statement),
            region=self._agent.region(),
        )
        self._announced = statement
        return True

    def reply(self, nonce: bytes) -> None:
        """Answer a challenge, bound to the statement that the coordinator saw last."""
        if self._announced is not None:
            self._session.reply(nonce, self._sign(nonce, self._announced))

    def announce(self) -> None:
        """Send capacity, and the models when they changed."""
        offers = tuple(self._agent.models())
        if offers != self._offers:
            self._session.replace_models(offers)
            self._offers = offers
        self._session.report(self._agent.capacity())

    def catch_up(self) -> None:
        """Send what changed while the registration was on its way."""
        if self._agent.statement() != self._announced:
            self.announce_statement()
        if tuple(self._agent.models()) != self._offers:
            self.announce()

    def announce_statement(self) -> None:
        """Send the statement of the agent's present keys."""
        statement = self._agent.statement()
        self._session.replace_statement(document_of(statement))
        self._announced = statement

    def _sign(self, nonce: bytes, statement: Statement) -> bytes:
        provider_id = bytes.fromhex(read_payload(statement.payload).provider)
        message = challenge_message(
            self._agent.network(), provider_id=provider_id, nonce=nonce, statement_digest=statement.digest()
        )
        return self._agent.sign(message)


def document_of(statement: Statement) -> StatementDocument:
    """Return a statement in the form that travels; raises `ValueError` when it is larger than a frame may carry."""
    return msgspec.convert(statement.to_json_object(), StatementDocument)
