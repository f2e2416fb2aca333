import Foundation

/// A device on which nothing has room, as /dev/full: one of the test's own, since what is tested may put a file in its place.
public enum FullDevice {
    /// Whether one can be made here: that takes root, and a temporary directory with devices.
    public static let isPossible: Bool = {
        let path = FileManager.default.temporaryDirectory.appending(path: "full-\(UUID().uuidString)").path
        defer { unlink(path) }
        return make(path)
    }()

    /// - Returns: whether it is there, and can be opened.
    @discardableResult
    public static func make(_ path: String) -> Bool {
        // Major 1, minor 7 (https://docs.kernel.org/admin-guide/devices.html).
        guard mknod(path, S_IFCHR | 0o666, 1 << 8 | 7) == 0 else { return false }
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        close(descriptor)
        return true
    }

    /// Whether what is at `path` is still one.
    public static func isThere(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFCHR
    }
}
