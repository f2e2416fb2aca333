import Foundation

/// A file that comes into being whole or not at all: written under a temporary name, synced, and then renamed.
///
/// The temporary name is always the same, and its file locked: the next process writes over what a killed one has left, and no
/// two write at once. Files without any name (`O_TMPFILE`) would leave nothing behind, but network file systems do not have them.
final class NewFile {
    let path: String
    private let temporaryPath: String
    private let handle: FileHandle
    /// Whether the file with the temporary name is this one.
    private var isTemporary = false

    /// - Parameter path: where the file will be; what is there stays until `commit`.
    init(path: String) throws(TokenDataError) {
        let url = URL(fileURLWithPath: path)
        self.path = path
        temporaryPath = url.deletingLastPathComponent().appending(path: ".\(url.lastPathComponent).partial").path
        var status = stat()
        if lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
            throw .unwritable(file: path, reason: "it is a directory; move it away")
        }
        // Without waiting: opening a pipe would otherwise wait for a reader.
        let flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK
        let descriptor = open(temporaryPath, flags, 0o666)
        guard descriptor >= 0 else { throw .lastSystemError(writing: temporaryPath) }
        handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        // Where there are no locks, whoever prepares data has to see to it that nobody else does.
        let isLocked = flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK
        var named = stat()
        // Between opening and locking, the process before may have renamed or removed it.
        guard isLocked, fstat(descriptor, &status) == 0, lstat(temporaryPath, &named) == 0,
            status.st_dev == named.st_dev, status.st_ino == named.st_ino
        else {
            throw .unwritable(file: path, reason: "another process is writing it; wait until that has ended")
        }
        guard ftruncate(descriptor, 0) == 0 else { throw .lastSystemError(writing: temporaryPath) }
        isTemporary = true
    }

    /// Removes what was not committed, while it is locked.
    deinit {
        if isTemporary { unlink(temporaryPath) }
    }

    func write(_ data: Data) throws(TokenDataError) {
        do {
            try handle.write(contentsOf: data)
        } catch {
            throw .unwritable(file: path, reason: reason(of: error))
        }
    }

    /// Makes sure that the contents are on the disk.
    func sync() throws(TokenDataError) {
        guard fsync(handle.fileDescriptor) == 0 else { throw .lastSystemError(writing: path) }
    }

    /// Gives the file its name, in place of what had it before.
    func commit() throws(TokenDataError) {
        guard rename(temporaryPath, path) == 0 else { throw .lastSystemError(writing: path) }
        isTemporary = false
    }
}
