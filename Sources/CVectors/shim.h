// Operations on 16 floats that Swift does not turn into vector instructions by itself: its squareRoot() and max() go lane
// by lane, and addingProduct calls fmaf where the target has no fused multiply-add. All are inlined.
#ifndef CVECTORS_SHIM_H
#define CVECTORS_SHIM_H

#include <string.h>
#ifdef __AVX512F__
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

// The first count (below 16) entries at p, and fill in the other lanes.
LANES_FUNCTION lanes16 lanes_load_first(const float *p, long count, float fill) {
#ifdef __AVX512F__
    return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), (__mmask16)((1u << count) - 1), p);
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
#else
    for (int lane = 0; lane < 16; lane++)
        if (lane < count) p[lane] = x[lane];
#endif
}

#endif
