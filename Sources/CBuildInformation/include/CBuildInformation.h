// What Package.swift knows of the source, which Swift code cannot be given as a definition.

/// The commit that was built, in hexadecimal digits; empty when that is not known.
const char *moe_source_commit(void);

// What a processor says of itself: CPUID's leaf 1 ECX, leaf 7.0 EBX, ECX and EDX, leaf 7.1 EAX.
#define MOE_PROCESSOR_WORDS 5

/// What this program was compiled for and a processor has not: the name of the first; NULL when it has all. Programs look at their own
/// before they begin, and end with 64.
const char *moe_missing_feature(const unsigned *words);
