"""The ground floor: identifiers, records, values, prefixes, trust, errors, clock and storage."""
