"""Is the database what the runtime promises? `verify` looks at all of it; anchors vouch for the audit trail from outside."""

from usecasecore.verification.anchors import AnchorExporter, AnchorTrail, anchor_heads, export_anchors
from usecasecore.verification.checker import one_snapshot, verify
from usecasecore.verification.report import Counted, Finding, Report
from usecasecore.verification.signing import Signer, Verifier, signer_from, verifier_from

__all__ = [
    "AnchorExporter",
    "AnchorTrail",
    "Counted",
    "Finding",
    "Report",
    "Signer",
    "Verifier",
    "anchor_heads",
    "export_anchors",
    "one_snapshot",
    "signer_from",
    "verifier_from",
    "verify",
]
