#ifndef FAULTY_DISK_H
#define FAULTY_DISK_H

#include <sqlite3.h>
#include <stdatomic.h>

#include "SQLiteFaults.h"

/// The unit in which a device writes or does not.
enum { sector_bytes = 512, name_bytes = 64, file_limit = 256 };

/// A file's content, growing as needed.
typedef struct {
    unsigned char *bytes;
    int64_t size, capacity;
} Content;

typedef enum { CHANGE_CREATE, CHANGE_REMOVE, CHANGE_WRITE, CHANGE_TRUNCATE, CHANGE_SYNC, CHANGE_FAILED_SYNC } ChangeKind;

typedef struct {
    ChangeKind kind;
    /// Index of the file, which stays when its name is removed.
    int file;
    /// Of a write; the new size of a truncation.
    int64_t offset;
    int64_t length;
    unsigned char *bytes;
    /// With a sync or removal: the directory is synced too.
    bool directory;
} Change;

typedef struct {
    char name[name_bytes];
    /// Whether the name is in the directory.
    bool exists;
    Content content;
} File;

struct FaultyDisk {
    sqlite3_vfs vfs;
    sqlite3_vfs *base;
    /// The owner and the open files.
    atomic_int users;
    char name[name_bytes];
    /// Files that there were when the disk was made come first, and are on disk whole.
    File files[file_limit];
    int file_count, initial_count;
    Content initial[file_limit];
    Change *changes;
    int64_t change_count, change_capacity;
    int64_t operations, failures, fail_first, fail_end;
    FaultyKind fail_kind;
};

void content_write(Content *content, const void *bytes, int64_t length, int64_t offset);
void content_truncate(Content *content, int64_t size);
void content_copy(Content *to, const Content *from);

int disk_find(const FaultyDisk *disk, const char *name);
int disk_add(FaultyDisk *disk, const char *name);
/// Frees the disk with its last user.
void disk_release(FaultyDisk *disk);
/// Appends to the record; the bytes are copied.
void disk_record(FaultyDisk *disk, Change change);

#endif
