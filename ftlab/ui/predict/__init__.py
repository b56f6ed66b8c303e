"""The Predict tab: its layout (`tab`, `cam_options`), event handlers (`actions`), example images and HTML (`view`)."""
