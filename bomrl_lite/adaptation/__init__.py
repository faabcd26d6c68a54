"""Every Alg, from the meta-parameters phi to the parameters theta of one task, and its way back."""
