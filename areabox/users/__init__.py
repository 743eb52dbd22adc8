"""Accounts, passwords, sessions, tokens, who may do what, and the audit log."""
