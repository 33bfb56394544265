"""Key statements: documents, issuing, the checks before anyone seals to them, and the discovery listing."""

from hushnet.sealing.identities import IdentitySigner, provider_id_of, verify_identity
from hushnet.sealing.statements.checks import (
    KeyPolicy,
    OfferedKey,
    Recipient,
    SerialMemory,
    VerifiedStatement,
    VerifyEvidence,
    verify_keys,
    verify_statement,
)
from hushnet.sealing.statements.documents import PAYLOAD_TYPE, Statement, evidence_binding, read_payload
from hushnet.sealing.statements.issuing import issue_statement
from hushnet.sealing.statements.listing import ListedProvider, Listing, decode_listing, encode_listing

__all__ = [
    "PAYLOAD_TYPE",
    "IdentitySigner",
    "KeyPolicy",
    "ListedProvider",
    "Listing",
    "OfferedKey",
    "Recipient",
    "SerialMemory",
    "Statement",
    "VerifiedStatement",
    "VerifyEvidence",
    "decode_listing",
    "encode_listing",
    "evidence_binding",
    "issue_statement",
    "provider_id_of",
    "read_payload",
    "verify_identity",
    "verify_keys",
    "verify_statement",
]
