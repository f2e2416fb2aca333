// Operations on 16 floats that Swift does not turn into vector instructions by itself: its squareRoot() and max() go lane
// by lane, and addingProduct calls fmaf where the target has no fused multiply-add. All are inlined.
#ifndef CVECTORS_SHIM_H
#define CVECTORS_SHIM_H

#include <string.h>
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif
#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

typedef float lanes16 __attribute__((ext_vector_type(16)));
typedef float lanes8 __attribute__((ext_vector_type(8)));
typedef float lanes4 __attribute__((ext_vector_type(4)));

#define LANES_FUNCTION static inline __attribute__((always_inline))

LANES_FUNCTION lanes16 lanes_square_root(lanes16 x) { return __builtin_elementwise_sqrt(x); }

// a * b + c: one instruction where the target has it, two where it has not.
LANES_FUNCTION lanes16 lanes_multiply_add(lanes16 a, lanes16 b, lanes16 c) {
#pragma clang fp contract(fast)
    return a * b + c;
}

// The sum in a fixed order: halves, quarters, pairs.
LANES_FUNCTION float lanes_sum(lanes16 x) {
    lanes8 eight = x.lo + x.hi;
    lanes4 four = eight.lo + eight.hi;
    return (four.x + four.z) + (four.y + four.w);
}

// The largest lane; unspecified when a lane is NaN.
LANES_FUNCTION float lanes_maximum(lanes16 x) {
    lanes8 eight = x.lo > x.hi ? x.lo : x.hi;
    lanes4 four = eight.lo > eight.hi ? eight.lo : eight.hi;
    float even = four.x > four.z ? four.x : four.z;
    float odd = four.y > four.w ? four.y : four.w;
    return even > odd ? even : odd;
}

#if defined(__AVX2__) && !defined(__AVX512F__)
// All bits of the first count of eight lanes.
LANES_FUNCTION __m256i lanes_first_of_eight(long count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
#endif

// The first count (below 16) entries at p, and fill in the other lanes.
LANES_FUNCTION lanes16 lanes_load_first(const float *p, long count, float fill) {
#ifdef __AVX512F__
    return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), (__mmask16)((1u << count) - 1), p);
#elif defined(__AVX2__)
    __m256i low = lanes_first_of_eight(count), high = lanes_first_of_eight(count - 8);
    __m256 others = _mm256_set1_ps(fill);
    lanes16 x;
    x.lo = _mm256_blendv_ps(others, _mm256_maskload_ps(p, low), _mm256_castsi256_ps(low));
    x.hi = _mm256_blendv_ps(others, _mm256_maskload_ps(p + 8, high), _mm256_castsi256_ps(high));
    return x;
#else
    float entries[16];
    for (int lane = 0; lane < 16; lane++) entries[lane] = lane < count ? p[lane] : fill;
    lanes16 x;
    memcpy(&x, entries, sizeof x);
    return x;
#endif
}

// Stores the first count (below 16) lanes.
LANES_FUNCTION void lanes_store_first(lanes16 x, float *p, long count) {
#ifdef __AVX512F__
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), x);
#elif defined(__AVX2__)
    _mm256_maskstore_ps(p, lanes_first_of_eight(count), x.lo);
    _mm256_maskstore_ps(p + 8, lanes_first_of_eight(count - 8), x.hi);
#else
    for (int lane = 0; lane < 16; lane++)
        if (lane < count) p[lane] = x[lane];
#endif
}

// Pairs of neighbouring rows, then pairs of pairs, of each quarter; then the quarters themselves.
#define LANES_LOW(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define LANES_HIGH(a, b) __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define LANES_LOW_PAIRS(a, b) __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define LANES_HIGH_PAIRS(a, b) \
    __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#define LANES_EVEN_QUARTERS(a, b) \
    __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
#define LANES_ODD_QUARTERS(a, b) \
    __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)

// Writes the transpose of 16 rows of 16 entries; strides are in entries.
static inline void lanes_transpose(const float *from, long from_stride, float *to, long to_stride) {
    lanes16 rows[16], mixed[16];
    for (int i = 0; i < 16; i++) memcpy(&rows[i], from + i * from_stride, sizeof rows[i]);
    for (int i = 0; i < 16; i += 2) {
        mixed[i] = LANES_LOW(rows[i], rows[i + 1]);
        mixed[i + 1] = LANES_HIGH(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        rows[i] = LANES_LOW_PAIRS(mixed[i], mixed[i + 2]);
        rows[i + 1] = LANES_HIGH_PAIRS(mixed[i], mixed[i + 2]);
        rows[i + 2] = LANES_LOW_PAIRS(mixed[i + 1], mixed[i + 3]);
        rows[i + 3] = LANES_HIGH_PAIRS(mixed[i + 1], mixed[i + 3]);
    }
    // Quarter q of rows[4 * g + i] holds rows 4g to 4g + 3 of column 4q + i.
    for (int i = 0; i < 4; i++) {
        lanes16 even = LANES_EVEN_QUARTERS(rows[i], rows[4 + i]), odd = LANES_ODD_QUARTERS(rows[i], rows[4 + i]);
        lanes16 next_even = LANES_EVEN_QUARTERS(rows[8 + i], rows[12 + i]);
        lanes16 next_odd = LANES_ODD_QUARTERS(rows[8 + i], rows[12 + i]);
        mixed[i] = LANES_EVEN_QUARTERS(even, next_even);
        mixed[4 + i] = LANES_EVEN_QUARTERS(odd, next_odd);
        mixed[8 + i] = LANES_ODD_QUARTERS(even, next_even);
        mixed[12 + i] = LANES_ODD_QUARTERS(odd, next_odd);
    }
    for (int i = 0; i < 16; i++) memcpy(to + i * to_stride, &mixed[i], sizeof mixed[i]);
}

// Copies count floats past the caches, where a block larger than them would only drive out other data: memory is written
// without being read first. Both may have any alignment; the copy is complete for other cores when this returns.
static inline void lanes_stream(float *restrict to, const float *restrict from, long count) {
    long done = 0;
    while (done < count && ((unsigned long)(to + done) & 63) != 0) {
        to[done] = from[done];
        done++;
    }
    for (; done + 16 <= count; done += 16) {
        lanes16 x;
        memcpy(&x, from + done, sizeof x);
        __builtin_nontemporal_store(x, (lanes16 *)(to + done));
    }
    for (; done < count; done++) to[done] = from[done];
#ifdef __SSE__
    __builtin_ia32_sfence();
#endif
}

// Rounds count floats to bfloat16, to the nearest and to even ones halfway.
static inline void lanes_round_to_bfloat16(const float *restrict from, unsigned short *restrict to, long count) {
    long done = 0;
#ifdef __AVX512BF16__
    for (; done + 16 <= count; done += 16) {
        __m256bh rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(from + done));
        memcpy(to + done, &rounded, sizeof rounded);
    }
#endif
    for (; done < count; done++) {
        unsigned bits;
        memcpy(&bits, from + done, sizeof bits);
        // A number that is none stays so.
        if ((bits & 0x7fffffff) > 0x7f800000) {
            to[done] = (unsigned short)(bits >> 16 | 0x40);
        } else {
            to[done] = (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
        }
    }
}

// Whether this processor multiplies bfloat16: AVX512_BF16 (leaf 7.1, EAX bit 5) or AMX-BF16 (leaf 7.0, EDX bit 22).
static inline int processor_has_bfloat16(void) {
#if defined(__x86_64__) || defined(__i386__)
    unsigned a, b, c, d;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1)) return 1;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1)) return 1;
#endif
    return 0;
}

// Whether this processor has AVX-512 (AVX512F: leaf 7.0, EBX bit 16).
static inline int processor_has_avx512(void) {
#if defined(__x86_64__) || defined(__i386__)
    unsigned a, b, c, d;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) return b >> 16 & 1;
#endif
    return 0;
}

#endif
