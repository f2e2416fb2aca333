// What Package.swift knows of the source, which Swift code cannot be given as a definition.

/// The commit that was built, in hexadecimal digits; empty when that is not known.
const char *moe_source_commit(void);

// What a processor says of itself: CPUID's leaf 1 ECX, leaf 7.0 EBX, ECX and EDX, leaf 7.1 EAX.
#define MOE_PROCESSOR_WORDS 5

/// The first instruction set this code was compiled for that the processor described by `words` lacks; NULL if none. A
/// constructor checks the running processor before main and exits with 64.
const char *moe_missing_feature(const unsigned *words);
