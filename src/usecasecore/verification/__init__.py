"""Is the database what the runtime promises? `verify` looks at all of it; anchors vouch for the audit trail from outside."""

from usecasecore.verification.anchors import AnchorExporter, AnchorTrail, anchor_heads, export_anchors
from usecasecore.verification.checker import one_snapshot, verify
from usecasecore.verification.erasure import ErasedSubject, EraseSubject, SubjectErasure
from usecasecore.verification.report import Counted, Finding, Report
from usecasecore.verification.signing import HmacKey, Signer, Verifier

__all__ = [
    "AnchorExporter",
    "AnchorTrail",
    "Counted",
    "EraseSubject",
    "ErasedSubject",
    "Finding",
    "HmacKey",
    "Report",
    "Signer",
    "SubjectErasure",
    "Verifier",
    "anchor_heads",
    "export_anchors",
    "one_snapshot",
    "verify",
]
