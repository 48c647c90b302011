"""Which process of a node signs, sends and writes the log: one at a time, and it knows when its time is over."""
