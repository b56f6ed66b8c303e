"""The process of a run, seen from outside: started, resumed, ended, its death explained, its time estimated.

No torch.
"""
