"""Parts that several tabs of the page share: access, uploads, curves, run status, choices of data and weights."""
