import Foundation

/// A file that a program was told to write, by what is at its path. A regular file, or none: one comes into being, whole or not
/// at all, and takes the place of the one before. A link stays, and what it leads to is written. Devices, pipes and the program's
/// own standard output get the bytes as they come.
package final class OutputFile {
    private static let linkLimit = 40

    private let path: String
    private let descriptor: Int32
    /// The file's path until it is whole, and then; nil: what is written is there at once.
    private let names: (temporary: String, whole: String)?
    private var isOpen = true
    private var isInPlace = false

    /// - Throws: why nothing can be written there.
    package init(_ path: String) throws(FileError) {
        self.path = path.isEmpty ? "\"\"" : path
        var status = stat()
        let isThere = stat(path, &status) == 0
        if isThere, let stream = Self.standardStream(at: status) {
            descriptor = dup(stream)
            names = nil
        } else if isThere, status.st_mode & S_IFMT != S_IFREG {
            descriptor = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY)
            names = nil
        } else {
            let end = try Self.end(of: path)
            let (directory, name) = Self.split(end)
            guard !name.isEmpty else { throw FileError(self.path, end.isEmpty ? ENOENT : EISDIR) }
            let temporary = "\(directory)/.\(name).\(UUID().uuidString).partial"
            descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
            names = (temporary, end)
        }
        guard descriptor >= 0 else {
            // Nothing to close, nothing to remove.
            (isOpen, isInPlace) = (false, true)
            throw FileError(self.path)
        }
        // Whoever could read the one before can read this one.
        if names != nil, isThere { fchmod(descriptor, status.st_mode & 0o777) }
    }

    deinit {
        if isOpen { close(descriptor) }
        if let names, !isInPlace { unlink(names.temporary) }
    }

    /// Writes a text as a whole file.
    package static func write(_ text: String, to path: String) throws(FileError) {
        let file = try OutputFile(path)
        try file.write(Data(text.utf8))
        try file.finish()
    }

    package func write(_ bytes: Data) throws(FileError) {
        try Descriptor.write(bytes, to: descriptor, name: path)
    }

    /// Puts the file where it belongs, and waits until it is on the disk.
    package func finish() throws(FileError) {
        if names != nil, fsync(descriptor) != 0 { throw FileError(path) }
        isOpen = false
        guard close(descriptor) == 0 else { throw FileError(path) }
        guard let names else { return }
        guard rename(names.temporary, names.whole) == 0 else { throw FileError(path) }
        isInPlace = true
        try syncDirectory(Self.split(names.whole).directory)
    }

    private func syncDirectory(_ directory: String) throws(FileError) {
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            // Names may be put into it without reading it.
            if errno == EACCES { return }
            throw FileError(path)
        }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw FileError(path) }
    }

    /// Standard output or error, when that is it: putting another file in its place would cut it off.
    private static func standardStream(at status: stat) -> Int32? {
        [STDOUT_FILENO, STDERR_FILENO].first { stream in
            var own = stat()
            return fstat(stream, &own) == 0 && own.st_dev == status.st_dev && own.st_ino == status.st_ino
        }
    }

    /// The path at the end of the links that begin at `path`; there may be nothing.
    private static func end(of path: String) throws(FileError) -> String {
        var end = path
        for _ in 0..<linkLimit {
            var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
            let count = readlink(end, &buffer, buffer.count)
            guard count >= 0 else { return end }
            let next = String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
            end = next.hasPrefix("/") ? next : "\(split(end).directory)/\(next)"
        }
        throw FileError(path, ELOOP)
    }

    private static func split(_ path: String) -> (directory: String, name: String) {
        // Bytes, for a letter may join what follows it.
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return (".", path) }
        let directory = path[..<slash]
        return (directory.isEmpty ? "/" : String(directory), String(path[path.utf8.index(after: slash)...]))
    }
}
