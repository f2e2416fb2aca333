import Foundation

/// A file that comes into being whole or not at all: written under a temporary name, synced, and then renamed.
struct NewFile {
    let path: String
    private let temporaryPath: String
    private let handle: FileHandle

    /// - Parameter path: where the file will be; what is there stays until `commit`.
    init(path: String) throws(TokenDataError) {
        let url = URL(fileURLWithPath: path)
        self.path = path
        temporaryPath =
            url.deletingLastPathComponent()
            .appending(path: ".\(url.lastPathComponent).\(UUID().uuidString)").path
        do {
            try Data().write(to: URL(fileURLWithPath: temporaryPath), options: .withoutOverwriting)
            handle = try FileHandle(forWritingTo: URL(fileURLWithPath: temporaryPath))
        } catch {
            throw .unwritable(file: path, reason: reason(of: error))
        }
    }

    func write(_ data: Data) throws(TokenDataError) {
        do {
            try handle.write(contentsOf: data)
        } catch {
            throw .unwritable(file: path, reason: reason(of: error))
        }
    }

    /// Makes sure that the contents are on the disk.
    func close() throws(TokenDataError) {
        do {
            try handle.synchronize()
            try handle.close()
        } catch {
            throw .unwritable(file: path, reason: reason(of: error))
        }
    }

    /// Gives the closed file its name, in place of what had it before.
    func commit() throws(TokenDataError) {
        guard rename(temporaryPath, path) == 0 else {
            throw .unwritable(file: path, reason: String(cString: strerror(errno)))
        }
    }

    /// Removes the temporary file, when it is still there.
    func discard() {
        try? handle.close()
        unlink(temporaryPath)
    }
}
