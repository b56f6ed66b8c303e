"""The Compare tab: its layout (`tab`), two models side by side (`pair`) and HTML (`view`)."""
