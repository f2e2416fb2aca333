#include "FaultyDisk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void content_write(Content *content, const void *bytes, int64_t length, int64_t offset) {
    int64_t end = offset + length;
    if (end > content->capacity) {
        int64_t capacity = content->capacity * 2 > end ? content->capacity * 2 : end;
        content->bytes = realloc(content->bytes, (size_t)capacity);
        content->capacity = capacity;
    }
    if (offset > content->size) memset(content->bytes + content->size, 0, (size_t)(offset - content->size));
    if (length > 0) memcpy(content->bytes + offset, bytes, (size_t)length);
    if (end > content->size) content->size = end;
}

void content_truncate(Content *content, int64_t size) {
    if (size > content->size) {
        content_write(content, NULL, 0, size);
    } else {
        content->size = size;
    }
}

void content_copy(Content *to, const Content *from) {
    *to = (Content){0};
    content_write(to, from->bytes, from->size, 0);
}

int disk_find(const FaultyDisk *disk, const char *name) {
    for (int file = disk->file_count - 1; file >= 0; file--) {
        if (disk->files[file].exists && strcmp(disk->files[file].name, name) == 0) return file;
    }
    return -1;
}

int disk_add(FaultyDisk *disk, const char *name) {
    if (disk->file_count == file_limit || strlen(name) >= name_bytes) return -1;
    File *file = &disk->files[disk->file_count];
    *file = (File){.exists = true};
    strcpy(file->name, name);
    return disk->file_count++;
}

void disk_record(FaultyDisk *disk, Change change) {
    if (disk->change_count == disk->change_capacity) {
        disk->change_capacity = disk->change_capacity ? 2 * disk->change_capacity : 1024;
        disk->changes = realloc(disk->changes, (size_t)disk->change_capacity * sizeof(Change));
    }
    if (change.bytes) {
        unsigned char *copy = malloc((size_t)change.length + 1);
        memcpy(copy, change.bytes, (size_t)change.length);
        change.bytes = copy;
    }
    disk->changes[disk->change_count++] = change;
}

void faulty_disk_free(FaultyDisk *disk) {
    sqlite3_vfs_unregister(&disk->vfs);
    disk_release(disk);
}

void disk_release(FaultyDisk *disk) {
    if (--disk->users > 0) return;
    for (int file = 0; file < disk->file_count; file++) free(disk->files[file].content.bytes);
    for (int file = 0; file < disk->initial_count; file++) free(disk->initial[file].bytes);
    for (int64_t index = 0; index < disk->change_count; index++) free(disk->changes[index].bytes);
    free(disk->changes);
    free(disk);
}

const char *faulty_disk_name(const FaultyDisk *disk) { return disk->name; }
int64_t faulty_disk_operations(const FaultyDisk *disk) { return disk->operations; }
int64_t faulty_disk_changes(const FaultyDisk *disk) { return disk->change_count; }
int64_t faulty_disk_failures(const FaultyDisk *disk) { return disk->failures; }

void faulty_disk_fail(FaultyDisk *disk, FaultyKind kind, int64_t first, int64_t count) {
    disk->fail_kind = kind;
    disk->fail_first = first;
    disk->fail_end = count > INT64_MAX - first ? INT64_MAX : first + count;
}
