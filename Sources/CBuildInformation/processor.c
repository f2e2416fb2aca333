#define _GNU_SOURCE
#include "CBuildInformation.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>

// Nothing here may need what is asked for.
#define ON_ANY_PROCESSOR __attribute__((target("arch=x86-64")))

struct feature {
    const char *name;
    // Which of the words, and the bit that tells of it (Intel's manual, volume 2, CPUID).
    int word, bit;
};

// What compilers use by themselves, oldest first.
static const struct feature features[] = {
#ifdef __SSE4_2__
    {"SSE4.2", 0, 20},
#endif
#ifdef __AVX__
    {"AVX", 0, 28},
#endif
#ifdef __FMA__
    {"FMA", 0, 12},
#endif
#ifdef __AVX2__
    {"AVX2", 1, 5},
#endif
#ifdef __BMI2__
    {"BMI2", 1, 8},
#endif
#ifdef __AVX512F__
    {"AVX512F", 1, 16},
#endif
#ifdef __AVX512CD__
    {"AVX512CD", 1, 28},
#endif
#ifdef __AVX512DQ__
    {"AVX512DQ", 1, 17},
#endif
#ifdef __AVX512BW__
    {"AVX512BW", 1, 30},
#endif
#ifdef __AVX512VL__
    {"AVX512VL", 1, 31},
#endif
#ifdef __AVX512IFMA__
    {"AVX512IFMA", 1, 21},
#endif
#ifdef __AVX512VBMI__
    {"AVX512VBMI", 2, 1},
#endif
#ifdef __AVX512VNNI__
    {"AVX512VNNI", 2, 11},
#endif
#ifdef __AVX512VBMI2__
    {"AVX512VBMI2", 2, 6},
#endif
#ifdef __AVX512BITALG__
    {"AVX512BITALG", 2, 12},
#endif
#ifdef __AVX512VPOPCNTDQ__
    {"AVX512VPOPCNTDQ", 2, 14},
#endif
#ifdef __GFNI__
    {"GFNI", 2, 8},
#endif
#ifdef __VAES__
    {"VAES", 2, 9},
#endif
#ifdef __AVXVNNI__
    {"AVX-VNNI", 4, 4},
#endif
#ifdef __AVX512FP16__
    {"AVX512FP16", 3, 23},
#endif
#ifdef __AVX512BF16__
    {"AVX512BF16", 4, 5},
#endif
    {NULL, 0, 0},
};

ON_ANY_PROCESSOR const char *moe_missing_feature(const unsigned *words) {
    for (const struct feature *feature = features; feature->name != NULL; feature++)
        if ((words[feature->word] >> feature->bit & 1) == 0) return feature->name;
    return NULL;
}

ON_ANY_PROCESSOR static void moe_processor(unsigned *words) {
    unsigned a, b, c, d, leaves, subleaves;
    __cpuid(0, leaves, b, c, d);
    __cpuid(1, a, b, words[0], d);
    if (leaves < 7) return;
    __cpuid_count(7, 0, subleaves, words[1], words[2], words[3]);
    if (subleaves >= 1) __cpuid_count(7, 1, words[4], b, c, d);
}

// Before anything of Swift's: a program that was compiled for another processor would end by SIGILL, somewhere.
ON_ANY_PROCESSOR __attribute__((constructor)) static void moe_check_processor(void) {
    unsigned words[MOE_PROCESSOR_WORDS] = {0};
    moe_processor(words);
    const char *missing = moe_missing_feature(words);
    if (missing == NULL) return;
    dprintf(
        STDERR_FILENO,
        "%s: error: this program was built for processors with %s, which this machine's has not; build it with "
        "make build MARCH=x86-64-v3, or x86-64 for any\n",
        program_invocation_short_name, missing);
    _exit(64);
}
#else
const char *moe_missing_feature(const unsigned *words) { return NULL; }
#endif
