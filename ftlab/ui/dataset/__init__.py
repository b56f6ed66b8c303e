"""The Dataset tab: its layout (`tab`), event handlers (`actions`), HTML (`view`) and the audit panel."""
