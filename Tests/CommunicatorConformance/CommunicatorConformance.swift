// Conformance suite follows.
