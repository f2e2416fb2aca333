import Foundation

/// Paths as the system takes them.
package enum FilePath {
    static func split(_ path: String) -> (directory: String, name: String) {
        // Bytes, for a letter may join what follows it.
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return (".", path) }
        let directory = path[..<slash]
        return (directory.isEmpty ? "/" : String(directory), String(path[path.utf8.index(after: slash)...]))
    }

    /// Waits until the names in a directory are on the disk, where the file system can do that and the caller may.
    package static func syncDirectory(_ path: String) throws(FileError) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            // Names may be put into it without reading it.
            if errno == EACCES { return }
            throw FileError(path)
        }
        defer { close(descriptor) }
        // Some file systems over networks have nothing to sync there.
        guard fsync(descriptor) == 0 || [EINVAL, ENOTSUP].contains(errno) else { throw FileError(path) }
    }
}
