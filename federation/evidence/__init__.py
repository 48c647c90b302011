"""Evidence: one file that proves, without any node, who sent what when and that it was received."""
