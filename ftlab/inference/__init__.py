"""From a trained run to answers, and to maps of what they rest on."""
