"""The Inspect tab: layout (`tab`), what can be evaluated (`choices`), event handlers (`actions`) and HTML (`view`)."""
