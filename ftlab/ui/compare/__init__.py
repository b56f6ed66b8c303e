"""The Compare tab: its layout (`tab`), one image through two models (`pair`, `pair_actions`) and HTML (`view`)."""
