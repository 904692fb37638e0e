"""The GDPR report: duty, claim, evidence; every sentence carries its proof."""

from trustplane.audit.report.bundle import Bundle, archive, write_bundle

__all__ = ["Bundle", "archive", "write_bundle"]
