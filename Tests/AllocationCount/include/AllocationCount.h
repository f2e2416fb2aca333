// Counts what a thread takes from malloc. A program that links this has its own malloc and relatives, which hand every call on to
// glibc's.
#ifndef ALLOCATION_COUNT_H
#define ALLOCATION_COUNT_H

typedef struct {
    /// Calls, and what they asked for. What was given back is not taken off.
    long calls;
    long bytes;
    long largest_bytes;
} AllocationCount;

/// Of the calling thread, since it began or since `allocation_count_reset`.
AllocationCount allocation_count(void);

void allocation_count_reset(void);

/// What malloc has of the system: its heap, and what it maps for single large blocks.
long heap_bytes(void);

#endif
