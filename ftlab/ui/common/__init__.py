"""Parts that several tabs share: access control, uploads, curves, run status, choices of data and initial weights."""
