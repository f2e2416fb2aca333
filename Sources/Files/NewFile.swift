import Foundation

/// A file that comes into being whole or not at all: written under a temporary name, synced, and then renamed.
///
/// The temporary name is always the same, and its file locked: the next process removes what a killed one has left, and no two
/// write at once. Files without any name (`O_TMPFILE`) would leave nothing behind, but network file systems do not have them.
package final class NewFile {
    package let path: String
    private let temporaryPath: String
    private let descriptor: Int32
    /// Whether the file with the temporary name is this one.
    private var isTemporary = false

    /// - Parameters:
    ///   - path: where the file will be; what is there stays until `commit`.
    ///   - mode: who may do what with it; nil: as with all new files of the process.
    /// - Throws: with `EISDIR` for a directory, `EWOULDBLOCK` while another process writes the file.
    package init(path: String, mode: mode_t? = nil) throws(FileError) {
        let (directory, name) = FilePath.split(path)
        guard !name.isEmpty else { throw FileError(path.isEmpty ? "\"\"" : path, path.isEmpty ? ENOENT : EISDIR) }
        self.path = path
        temporaryPath = "\(directory)/.\(name).partial"
        var status = stat()
        if lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR { throw FileError(path, EISDIR) }
        var opened = Self.make(temporaryPath)
        if opened < 0, errno == EEXIST {
            guard Self.isLeftOver(temporaryPath) else { throw FileError(path, EWOULDBLOCK) }
            // Made anew: it may be another user's, or not for all to read.
            unlink(temporaryPath)
            opened = Self.make(temporaryPath)
        }
        // Somebody else was first.
        guard opened >= 0 else { throw FileError(path, errno == EEXIST ? EWOULDBLOCK : errno) }
        descriptor = opened
        var named = stat()
        // Where there are no locks, whoever writes has to see to it that nobody else does.
        let isLocked = flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK
        // Before it was locked, another process may have taken it for left over.
        guard isLocked, fstat(descriptor, &status) == 0, lstat(temporaryPath, &named) == 0,
            status.st_dev == named.st_dev, status.st_ino == named.st_ino
        else { throw FileError(path, EWOULDBLOCK) }
        isTemporary = true
        if let mode { fchmod(descriptor, mode) }
    }

    /// Removes what was not committed, while it is locked.
    deinit {
        if isTemporary { unlink(temporaryPath) }
        close(descriptor)
    }

    private static func make(_ path: String) -> Int32 {
        open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o666)
    }

    /// Whether nobody writes the file any more, as far as can be told.
    private static func isLeftOver(_ path: String) -> Bool {
        // Without waiting: opening a pipe would otherwise wait for a reader.
        let descriptor = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { return true }
        defer { close(descriptor) }
        return flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK
    }

    package func write(_ data: Data) throws(FileError) { try Descriptor.write(data, to: descriptor, name: path) }

    /// Makes sure that the contents are on the disk.
    package func sync() throws(FileError) {
        guard fsync(descriptor) == 0 else { throw FileError(path) }
    }

    /// Gives the file its name, in place of what had it before.
    package func commit() throws(FileError) {
        guard rename(temporaryPath, path) == 0 else { throw FileError(path) }
        isTemporary = false
    }
}
