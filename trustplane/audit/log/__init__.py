"""The audit log: append, prove, sign, seal, erase, verify (format: docs/reference/log-format.md)."""
