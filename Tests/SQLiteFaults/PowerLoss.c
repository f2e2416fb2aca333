#include <stdlib.h>
#include <string.h>

#include "FaultyDisk.h"

/// SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators").
static uint64_t next_random(uint64_t *state) {
    uint64_t mixed = *state += 0x9E3779B97F4A7C15;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
    return mixed ^ (mixed >> 31);
}

typedef struct {
    const FaultyDisk *disk;
    FaultyLoss loss;
    uint64_t random;
    /// By file: what the device has, and whether the directory there has the name.
    Content contents[file_limit];
    bool exists[file_limit];
    /// Changes that were not synced, oldest first.
    int64_t *pending;
    int64_t pending_count;
} Replay;

static void apply(Replay *replay, const Change *change) {
    Content *content = &replay->contents[change->file];
    switch (change->kind) {
    case CHANGE_CREATE: replay->exists[change->file] = true; break;
    case CHANGE_REMOVE: replay->exists[change->file] = false; break;
    case CHANGE_WRITE: content_write(content, change->bytes, change->length, change->offset); break;
    case CHANGE_TRUNCATE: content_truncate(content, change->offset); break;
    default: break;
    }
}

/// Some sectors of a write, or perhaps one of the other changes.
static void apply_by_chance(Replay *replay, const Change *change) {
    if (change->kind != CHANGE_WRITE) {
        if (next_random(&replay->random) & 1) apply(replay, change);
        return;
    }
    int64_t end = change->offset + change->length;
    for (int64_t from = change->offset; from < end;) {
        int64_t to = (from / sector_bytes + 1) * sector_bytes;
        if (to > end) to = end;
        if (next_random(&replay->random) & 1) {
            content_write(&replay->contents[change->file], change->bytes + (from - change->offset), to - from, from);
        }
        from = to;
    }
}

/// Does not wait for a sync any more. What is left stays in order.
static void drop_pending(Replay *replay, bool (*drops)(const Change *pending, const Change *sync), const Change *sync) {
    int64_t kept = 0;
    for (int64_t index = 0; index < replay->pending_count; index++) {
        if (!drops(&replay->disk->changes[replay->pending[index]], sync)) {
            replay->pending[kept++] = replay->pending[index];
        }
    }
    replay->pending_count = kept;
}

static bool is_entry(const Change *change) { return change->kind == CHANGE_CREATE || change->kind == CHANGE_REMOVE; }

static bool is_covered(const Change *pending, const Change *sync) {
    return is_entry(pending) ? sync->directory : sync->kind != CHANGE_REMOVE && pending->file == sync->file;
}

static void sync_file(Replay *replay, const Change *sync) {
    for (int64_t index = 0; index < replay->pending_count; index++) {
        const Change *change = &replay->disk->changes[replay->pending[index]];
        if (!is_covered(change, sync)) continue;
        if (sync->kind != CHANGE_FAILED_SYNC || replay->loss == FAULTY_LOSS_NONE) {
            apply(replay, change);
        } else if (replay->loss != FAULTY_LOSS_ALL) {
            apply_by_chance(replay, change);
        }
    }
    drop_pending(replay, is_covered, sync);
}

static void lose_power(Replay *replay) {
    const Change *changes = replay->disk->changes;
    int64_t kept = replay->loss == FAULTY_LOSS_ALL ? 0 : replay->pending_count;
    if (replay->loss == FAULTY_LOSS_SUFFIX && kept > 0) kept = (int64_t)(next_random(&replay->random) % (uint64_t)kept);
    for (int64_t index = 0; index < kept; index++) {
        const Change *change = &changes[replay->pending[index]];
        if (replay->loss == FAULTY_LOSS_SECTORS) {
            apply_by_chance(replay, change);
        } else {
            apply(replay, change);
        }
    }
    if (replay->loss == FAULTY_LOSS_SUFFIX && kept < replay->pending_count) {
        Change torn = changes[replay->pending[kept]];
        int64_t sectors = torn.length / sector_bytes;
        if (torn.kind == CHANGE_WRITE && sectors > 0) {
            torn.length = (int64_t)(next_random(&replay->random) % (uint64_t)(sectors + 1)) * sector_bytes;
            apply(replay, &torn);
        }
    }
}

FaultyDisk *faulty_disk_after_power_loss(
    const FaultyDisk *disk, int64_t changes, FaultyLoss loss, uint64_t seed) {
    Replay *replay = calloc(1, sizeof(Replay));
    replay->disk = disk;
    replay->loss = loss;
    replay->random = seed;
    replay->pending = malloc((size_t)(disk->change_count + 1) * sizeof(int64_t));
    for (int file = 0; file < disk->initial_count; file++) {
        content_copy(&replay->contents[file], &disk->initial[file]);
        replay->exists[file] = true;
    }
    for (int64_t index = 0; index < changes && index < disk->change_count; index++) {
        const Change *change = &disk->changes[index];
        if (change->kind == CHANGE_SYNC || change->kind == CHANGE_FAILED_SYNC) {
            sync_file(replay, change);
        } else {
            replay->pending[replay->pending_count++] = index;
            if (change->directory) sync_file(replay, change);
        }
    }
    lose_power(replay);
    FaultyDisk *result = faulty_disk_make();
    for (int file = 0; file < disk->file_count; file++) {
        if (!replay->exists[file]) {
            free(replay->contents[file].bytes);
            continue;
        }
        int added = disk_find(result, disk->files[file].name);
        if (added < 0) added = disk_add(result, disk->files[file].name);
        if (added < 0) abort();
        // A name that was removed and made again: the removal alone may have been lost.
        free(result->files[added].content.bytes);
        result->files[added].content = replay->contents[file];
    }
    for (int file = 0; file < result->file_count; file++) {
        content_copy(&result->initial[file], &result->files[file].content);
    }
    result->initial_count = result->file_count;
    free(replay->pending);
    free(replay);
    return result;
}
