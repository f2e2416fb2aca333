// What Package.swift knows of the source, which Swift code cannot be given as a definition.

/// The commit that was built, in hexadecimal digits; empty when that is not known.
const char *moe_source_commit(void);
