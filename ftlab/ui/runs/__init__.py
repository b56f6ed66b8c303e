"""The Runs tab: its layout (`tab`), event handlers (`actions`), rows and panel (`listing`) and HTML (`view`)."""
