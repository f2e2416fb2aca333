#include "AllocationCount.h"

#include <errno.h>
#include <malloc.h>
#include <stddef.h>

// glibc's own, under the names that it has for those who replace them.
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static _Thread_local AllocationCount counts;

AllocationCount allocation_count(void) { return counts; }

void allocation_count_reset(void) { counts = (AllocationCount){0, 0, 0}; }

long heap_bytes(void) {
    struct mallinfo2 information = mallinfo2();
    return (long)(information.arena + information.hblkhd);
}

static void count(size_t bytes) {
    counts.calls++;
    counts.bytes += (long)bytes;
    if ((long)bytes > counts.largest_bytes) counts.largest_bytes = (long)bytes;
}

void *malloc(size_t bytes) {
    count(bytes);
    return __libc_malloc(bytes);
}

void *calloc(size_t number, size_t bytes) {
    count(number * bytes);
    return __libc_calloc(number, bytes);
}

void *realloc(void *block, size_t bytes) {
    count(bytes);
    return __libc_realloc(block, bytes);
}

void *memalign(size_t alignment, size_t bytes) {
    count(bytes);
    return __libc_memalign(alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }

int posix_memalign(void **block, size_t alignment, size_t bytes) {
    if (alignment % sizeof(void *) != 0 || (alignment & (alignment - 1)) != 0 || alignment == 0) return EINVAL;
    *block = memalign(alignment, bytes);
    return *block ? 0 : ENOMEM;
}
