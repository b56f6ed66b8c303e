"""The process of a run, seen from outside: started, resumed, stopped, estimated. No torch."""
