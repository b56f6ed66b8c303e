"""Parts that several tabs share: uploads, curves, run status, choices of data and initial weights."""
