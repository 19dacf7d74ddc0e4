"""Features and what is measured from them: k-NN, linear probes, attention."""
