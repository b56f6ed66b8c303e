"""The Predict tab: its layout (`tab`), event handlers (`actions`) and HTML (`view`)."""
