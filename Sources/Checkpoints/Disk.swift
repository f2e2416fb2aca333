import Files
import Foundation

/// What checkpoints do to the disk, one operation after another, so that tests can stop between any two.
enum Disk {
    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// Opens a regular file for reading. Somebody has to close it.
    static func open(_ path: String) throws(CheckpointError) -> (descriptor: Int32, bytes: Int) {
        // Without waiting: opening a pipe would otherwise wait for a writer.
        let descriptor = Foundation.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw errno == ENOENT ? CheckpointError(.damaged, path, "is missing") : .system(path)
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw CheckpointError(.damaged, path, "is not a regular file")
        }
        return (descriptor, Int(status.st_size))
    }

    /// Names in a directory, in no order.
    static func names(in path: String) throws(CheckpointError) -> [String] {
        guard let directory = opendir(path) else { throw .system(path) }
        defer { closedir(directory) }
        var names = [String]()
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }

    static func makeDirectory(_ path: String) throws(CheckpointError) {
        Failpoint.reach()
        guard mkdir(path, 0o777) == 0 else { throw .system(path) }
    }

    /// Opens a new file for writing.
    static func create(_ path: String) throws(CheckpointError) -> Int32 {
        Failpoint.reach()
        let descriptor = Foundation.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o666)
        guard descriptor >= 0 else { throw .system(path) }
        return descriptor
    }

    static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, path: String) throws(CheckpointError) {
        var rest = bytes
        while !rest.isEmpty {
            let count = Foundation.write(descriptor, rest.baseAddress, rest.count)
            if count < 0 {
                if errno == EINTR { continue }
                throw .system(path)
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    static func sync(_ descriptor: Int32, path: String) throws(CheckpointError) {
        Failpoint.reach()
        guard fsync(descriptor) == 0 else { throw .system(path) }
    }

    /// Waits until the names in a directory are on the disk.
    static func syncDirectory(_ path: String) throws(CheckpointError) {
        Failpoint.reach()
        do throws(FileError) { try FilePath.syncDirectory(path) } catch { throw .system(path, error.code) }
    }

    static func move(_ source: String, to target: String) throws(CheckpointError) {
        Failpoint.reach()
        guard rename(source, target) == 0 else { throw .system(target) }
    }

    /// Removes a file, a link (not what it leads to), or a directory with all that is in it.
    /// - Throws: as `removeDirectory`.
    static func remove(_ path: String) throws(CheckpointError) {
        var status = stat()
        if lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR { return try removeDirectory(path) }
        Failpoint.reach()
        guard unlink(path) == 0 || errno == ENOENT else { throw .system(path) }
    }

    /// Removes a directory with all that is in it.
    /// - Throws: why the first thing stays that cannot be removed; what can be is gone then, too.
    static func removeDirectory(_ path: String) throws(CheckpointError) {
        var failure: CheckpointError?
        for name in try names(in: path) {
            do throws(CheckpointError) {
                try remove("\(path)/\(name)")
            } catch {
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
        Failpoint.reach()
        guard rmdir(path) == 0 || errno == ENOENT else { throw .system(path) }
    }

    /// Reads a small file.
    static func read(_ path: String, limitBytes: Int) throws(CheckpointError) -> Data {
        let (descriptor, bytes) = try open(path)
        defer { close(descriptor) }
        guard bytes <= limitBytes else {
            throw CheckpointError(
                .damaged, path, "has \(bytes) bytes, more than the \(limitBytes) that such a file may have")
        }
        do {
            return try FileHandle(fileDescriptor: descriptor, closeOnDealloc: false).readToEnd() ?? Data()
        } catch {
            throw CheckpointError(.system, path, error.localizedDescription)
        }
    }
}
