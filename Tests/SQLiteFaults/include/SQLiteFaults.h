#ifndef SQLITE_FAULTS_H
#define SQLITE_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

/// A disk in memory that SQLite uses as a file system (https://www.sqlite.org/vfs.html). It records every change, so that
/// the disk can be had as it might be after power was lost at any of them, and can fail any operation.
///
/// Not for several threads at once.
typedef struct FaultyDisk FaultyDisk;

/// What becomes of changes that were not synced when power is lost.
typedef enum {
    /// All are lost.
    FAULTY_LOSS_ALL,
    /// None are: the process died, not the machine.
    FAULTY_LOSS_NONE,
    /// Those after some moment are, the one at that moment in part.
    FAULTY_LOSS_SUFFIX,
    /// Of each sector by chance: devices write in any order.
    FAULTY_LOSS_SECTORS,
} FaultyLoss;

typedef enum {
    /// Every operation; a write has written a part of what it should.
    FAULTY_IO_ERROR,
    /// Writes, as on a full disk.
    FAULTY_FULL,
} FaultyKind;

/// An empty disk. SQLite knows it by `faulty_disk_name` until it is freed, and uses the files that are open then until they are
/// closed.
FaultyDisk *faulty_disk_make(void);
void faulty_disk_free(FaultyDisk *disk);
const char *faulty_disk_name(const FaultyDisk *disk);

/// Operations so far, those that only read among them.
int64_t faulty_disk_operations(const FaultyDisk *disk);
/// Changes so far.
int64_t faulty_disk_changes(const FaultyDisk *disk);

/// Fails the operations from number `first` on, `count` of them.
void faulty_disk_fail(FaultyDisk *disk, FaultyKind kind, int64_t first, int64_t count);
/// Operations that were failed so far.
int64_t faulty_disk_failures(const FaultyDisk *disk);

/// The disk as it might be if power had been lost after so many changes. What a failed sync did not write counts as written
/// or not at that moment already: later syncs do not write it (https://wiki.postgresql.org/wiki/Fsync_Errors).
FaultyDisk *faulty_disk_after_power_loss(
    const FaultyDisk *disk, int64_t changes, FaultyLoss loss, uint64_t seed);

#endif
