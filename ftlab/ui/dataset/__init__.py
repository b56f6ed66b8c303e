"""The Dataset tab: components (`layout`), wiring (`tab`), event handlers (`actions`), HTML (`view`), audit panel."""
