#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "FaultyDisk.h"

/// An open file, as SQLite holds it.
typedef struct {
    sqlite3_file base;
    FaultyDisk *disk;
    /// Index of the file; -1: a temporary one, which nothing is recorded of.
    int file;
    Content temporary;
    /// The next sync is one of the directory too: SQLite's own VFS does that for journals that it creates.
    bool syncs_directory;
} OpenFile;

/// Whether this operation is to fail.
static bool fails(FaultyDisk *disk, bool writes) {
    int64_t number = disk->operations++;
    if (number < disk->fail_first || number >= disk->fail_end) return false;
    if (disk->fail_kind == FAULTY_FULL && !writes) return false;
    disk->failures++;
    return true;
}

static Content *content(OpenFile *file) {
    return file->file < 0 ? &file->temporary : &file->disk->files[file->file].content;
}

static int close_file(sqlite3_file *base) {
    OpenFile *file = (OpenFile *)base;
    free(file->temporary.bytes);
    disk_release(file->disk);
    return SQLITE_OK;
}

static int read_file(sqlite3_file *base, void *bytes, int length, sqlite3_int64 offset) {
    OpenFile *file = (OpenFile *)base;
    if (file->file >= 0 && fails(file->disk, false)) return SQLITE_IOERR_READ;
    const Content *from = content(file);
    int64_t available = from->size - offset;
    if (available > length) available = length;
    if (available > 0) memcpy(bytes, from->bytes + offset, (size_t)available);
    if (available >= length) return SQLITE_OK;
    memset((char *)bytes + (available > 0 ? available : 0), 0, (size_t)(length - (available > 0 ? available : 0)));
    return SQLITE_IOERR_SHORT_READ;
}

static int write_file(sqlite3_file *base, const void *bytes, int length, sqlite3_int64 offset) {
    OpenFile *file = (OpenFile *)base;
    bool is_failing = file->file >= 0 && fails(file->disk, true);
    if (is_failing) length = length / 2 / sector_bytes * sector_bytes;
    content_write(content(file), bytes, length, offset);
    if (file->file >= 0) {
        disk_record(
            file->disk,
            (Change){
                .kind = CHANGE_WRITE, .file = file->file, .offset = offset, .length = length, .bytes = (void *)bytes});
    }
    if (!is_failing) return SQLITE_OK;
    return file->disk->fail_kind == FAULTY_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

static int truncate_file(sqlite3_file *base, sqlite3_int64 size) {
    OpenFile *file = (OpenFile *)base;
    if (file->file >= 0) {
        if (fails(file->disk, false)) return SQLITE_IOERR_TRUNCATE;
        disk_record(file->disk, (Change){.kind = CHANGE_TRUNCATE, .file = file->file, .offset = size});
    }
    content_truncate(content(file), size);
    return SQLITE_OK;
}

static int sync_file(sqlite3_file *base, int flags) {
    OpenFile *file = (OpenFile *)base;
    (void)flags;
    if (file->file < 0) return SQLITE_OK;
    bool is_failing = fails(file->disk, false);
    disk_record(
        file->disk, (Change){
                        .kind = is_failing ? CHANGE_FAILED_SYNC : CHANGE_SYNC, .file = file->file,
                        .directory = !is_failing && file->syncs_directory});
    if (is_failing) return SQLITE_IOERR_FSYNC;
    file->syncs_directory = false;
    return SQLITE_OK;
}

static int file_size(sqlite3_file *base, sqlite3_int64 *size) {
    OpenFile *file = (OpenFile *)base;
    if (file->file >= 0 && fails(file->disk, false)) return SQLITE_IOERR_FSTAT;
    *size = content(file)->size;
    return SQLITE_OK;
}

// One process and one connection: nobody else has a lock.
static int lock_file(sqlite3_file *base, int level) {
    (void)base, (void)level;
    return SQLITE_OK;
}

static int check_lock(sqlite3_file *base, int *is_locked) {
    (void)base;
    *is_locked = 0;
    return SQLITE_OK;
}

static int control_file(sqlite3_file *base, int operation, void *argument) {
    (void)base, (void)operation, (void)argument;
    return SQLITE_NOTFOUND;
}

static int sector_size(sqlite3_file *base) {
    (void)base;
    return 4096;
}

static int characteristics(sqlite3_file *base) {
    (void)base;
    // As SQLite's own VFS says of most file systems: a torn write spoils nothing beside it.
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/// Version 1: no shared memory, which a log that is held exclusively does not need (https://www.sqlite.org/wal.html#noshm).
static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = close_file,
    .xRead = read_file,
    .xWrite = write_file,
    .xTruncate = truncate_file,
    .xSync = sync_file,
    .xFileSize = file_size,
    .xLock = lock_file,
    .xUnlock = lock_file,
    .xCheckReservedLock = check_lock,
    .xFileControl = control_file,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = characteristics,
};

static FaultyDisk *disk_of(sqlite3_vfs *vfs) { return vfs->pAppData; }

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *actual) {
    OpenFile *file = (OpenFile *)base;
    *file = (OpenFile){.disk = disk_of(vfs), .file = -1};
    if (name) {
        if (fails(file->disk, false)) return SQLITE_CANTOPEN;
        file->file = disk_find(file->disk, name);
        if (file->file < 0) {
            if (!(flags & SQLITE_OPEN_CREATE)) return SQLITE_CANTOPEN;
            file->file = disk_add(file->disk, name);
            if (file->file < 0) return SQLITE_CANTOPEN;
            disk_record(file->disk, (Change){.kind = CHANGE_CREATE, .file = file->file});
        }
        file->syncs_directory = flags & SQLITE_OPEN_CREATE && flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL);
    }
    if (actual) *actual = flags;
    file->base.pMethods = &methods;
    file->disk->users++;
    return SQLITE_OK;
}

static int delete_file(sqlite3_vfs *vfs, const char *name, int syncs_directory) {
    FaultyDisk *disk = disk_of(vfs);
    if (fails(disk, false)) return SQLITE_IOERR_DELETE;
    int file = disk_find(disk, name);
    if (file < 0) return SQLITE_IOERR_DELETE_NOENT;
    disk->files[file].exists = false;
    disk_record(disk, (Change){.kind = CHANGE_REMOVE, .file = file, .directory = syncs_directory});
    return SQLITE_OK;
}

static int access_file(sqlite3_vfs *vfs, const char *name, int flags, int *result) {
    (void)flags;
    FaultyDisk *disk = disk_of(vfs);
    if (fails(disk, false)) return SQLITE_IOERR_ACCESS;
    int file = disk_find(disk, name);
    // An empty file counts as none, as with SQLite's own VFS.
    *result = file >= 0 && (flags != SQLITE_ACCESS_EXISTS || disk->files[file].content.size > 0);
    return SQLITE_OK;
}

static int full_path(sqlite3_vfs *vfs, const char *name, int length, char *path) {
    (void)vfs;
    sqlite3_snprintf(length, path, "%s", name);
    return SQLITE_OK;
}

static int random_bytes(sqlite3_vfs *vfs, int length, char *bytes) {
    sqlite3_vfs *base = disk_of(vfs)->base;
    return base->xRandomness(base, length, bytes);
}

static int sleep_microseconds(sqlite3_vfs *vfs, int microseconds) {
    (void)vfs;
    return microseconds;
}

static int current_time(sqlite3_vfs *vfs, double *time) {
    sqlite3_vfs *base = disk_of(vfs)->base;
    return base->xCurrentTime(base, time);
}

FaultyDisk *faulty_disk_make(void) {
    static atomic_int count;
    FaultyDisk *disk = calloc(1, sizeof(FaultyDisk));
    snprintf(disk->name, sizeof disk->name, "faulty-disk-%d", ++count);
    disk->users = 1;
    disk->base = sqlite3_vfs_find(NULL);
    disk->vfs = (sqlite3_vfs){
        .iVersion = 1,
        .szOsFile = sizeof(OpenFile),
        .mxPathname = name_bytes - 1,
        .zName = disk->name,
        .pAppData = disk,
        .xOpen = open_file,
        .xDelete = delete_file,
        .xAccess = access_file,
        .xFullPathname = full_path,
        .xRandomness = random_bytes,
        .xSleep = sleep_microseconds,
        .xCurrentTime = current_time,
    };
    sqlite3_vfs_register(&disk->vfs, 0);
    return disk;
}
