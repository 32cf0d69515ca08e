"""Who notices a planted fault: what the program `planted_faults` is made of."""
