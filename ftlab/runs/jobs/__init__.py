"""The process of a run, seen from outside: started, resumed, ended, estimated, and why it died. No torch."""
