"""The Train tab: its layout (`tab`), event handlers (`actions`) and the panels of its form."""
