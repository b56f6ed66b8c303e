"""Training processes seen from outside: start, resume, terminate, estimate, and why one died. No torch."""
