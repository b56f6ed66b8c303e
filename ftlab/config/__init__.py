"""The configuration of a training: one frozen dataclass, its rules, recipes and backbones. Imports no torch."""
