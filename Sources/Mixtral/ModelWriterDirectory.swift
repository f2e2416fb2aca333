import Foundation

/// A directory that appears at once: filled under the name `.NAME.partial`, then renamed.
final class ModelWriterDirectory {
    private let parent: String
    private let name: String
    private var lock: FileHandle?

    init(directory: String, name: String) {
        parent = URL(fileURLWithPath: directory).path
        self.name = name
    }

    var path: String { "\(parent)/\(name)" }
    private var partial: String { "\(parent)/.\(name).partial" }
    private var replaced: String { "\(parent)/.\(name).replaced" }

    func partialPath(of file: String) -> String { "\(partial)/\(file)" }

    /// Locks the parent, clears away what a crash has left, and makes the partial directory.
    func begin() throws {
        let manager = FileManager.default
        let isNew = !manager.fileExists(atPath: parent)
        do {
            try manager.createDirectory(atPath: parent, withIntermediateDirectories: true)
            if isNew { try sync(URL(fileURLWithPath: parent).deletingLastPathComponent().path) }
            try takeLock()
            try recover()
            try checkTarget()
            try manager.createDirectory(atPath: partial, withIntermediateDirectories: false)
        } catch {
            lock = nil
            throw ModelWriterError(parent, error)
        }
    }

    /// Writes a file of the partial directory and flushes it.
    func write(_ data: Data, to file: String) throws {
        let path = partialPath(of: file)
        do {
            try data.write(to: URL(fileURLWithPath: path))
            try sync(path)
        } catch {
            throw ModelWriterError(path, error)
        }
    }

    /// Copies a small file into the partial directory, under its own name.
    func copy(_ file: String) throws {
        let source = URL(fileURLWithPath: file)
        let data: Data
        do {
            data = try Data(contentsOf: source)
        } catch {
            throw ModelWriterError(file, error)
        }
        try write(data, to: source.lastPathComponent)
    }

    /// Puts the partial directory in its place. Whenever the machine stops, the old or the new one is there, or will be
    /// put back by the next `begin`.
    func commit() throws {
        do {
            try sync(partial)
            let hasOld = FileManager.default.fileExists(atPath: path)
            if hasOld {
                // A directory with files in it cannot be renamed over.
                try move(path, to: replaced)
                try sync(parent)
            }
            do {
                try move(partial, to: path)
            } catch {
                if hasOld { try move(replaced, to: path) }
                throw error
            }
            try sync(parent)
            if hasOld { try FileManager.default.removeItem(atPath: replaced) }
            lock = nil
        } catch {
            throw ModelWriterError(path, error)
        }
    }

    /// Removes the partial directory, if this writer has one, and gives the lock back.
    func abandon() {
        guard lock != nil else { return }
        // The next `begin` clears away what cannot be removed now.
        try? FileManager.default.removeItem(atPath: partial)
        lock = nil
    }

    /// The kernel gives the lock back when the process ends, however it ends.
    private func takeLock() throws {
        let file = "\(parent)/.lock"
        let descriptor = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw ModelWriterError(file, errno: errno) }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            guard errno == EWOULDBLOCK else { throw ModelWriterError(file, errno: errno) }
            throw ModelWriterError(parent, reason: "another process is writing a checkpoint here")
        }
        lock = handle
    }

    /// Under the lock, whatever has one of these names belongs to a writer that is gone.
    private func recover() throws {
        let manager = FileManager.default
        for entry in try manager.contentsOfDirectory(atPath: parent) where entry.hasPrefix(".step-") {
            let leftover = "\(parent)/\(entry)"
            if entry.hasSuffix(".partial") {
                try manager.removeItem(atPath: leftover)
            } else if entry.hasSuffix(".replaced") {
                let original = "\(parent)/\(entry.dropFirst().dropLast(".replaced".count))"
                if manager.fileExists(atPath: original) {
                    try manager.removeItem(atPath: leftover)
                } else {
                    try move(leftover, to: original)
                    try sync(parent)
                }
            }
        }
    }

    /// Only a checkpoint is replaced, nothing else that happens to have its name.
    private func checkTarget() throws {
        let manager = FileManager.default
        guard manager.fileExists(atPath: path) else { return }
        let contents = try? manager.contentsOfDirectory(atPath: path)
        guard let contents, contents.isEmpty || contents.contains("config.json") else {
            throw ModelWriterError(
                path, reason: "is in the way and no checkpoint: remove it or choose another directory")
        }
    }

    private func move(_ source: String, to target: String) throws {
        guard rename(source, target) == 0 else { throw ModelWriterError(target, errno: errno) }
    }

    /// Flushes a file, or the names in a directory, to the disk.
    private func sync(_ path: String) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw ModelWriterError(path, errno: errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw ModelWriterError(path, errno: errno) }
    }
}

/// Why a checkpoint could not be written.
public struct ModelWriterError: Error, CustomStringConvertible {
    public let path: String
    public let reason: String

    init(_ path: String, reason: String) {
        self.path = path
        self.reason = reason
    }

    init(_ path: String, errno code: Int32) {
        self.init(path, reason: String(cString: strerror(code)))
    }

    /// Another error with the path it concerns; errors of this type have theirs.
    init(_ path: String, _ error: any Error) {
        self = error as? ModelWriterError ?? ModelWriterError(path, reason: (error as NSError).localizedDescription)
    }

    public var description: String { "cannot write a checkpoint: \(path): \(reason)" }
}
