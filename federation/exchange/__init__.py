"""Exchange: signed envelopes and receipts between a node and the tier above or below it."""
