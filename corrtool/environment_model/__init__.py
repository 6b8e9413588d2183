"""The environment model F of the source task (appendix 6.1, 6.2): network, training, validation."""
