import Foundation

/// What POSIX says of a file.
package struct FileError: Error, Hashable, CustomStringConvertible {
    package let path: String
    package let code: Int32

    /// With the code of the call that just failed.
    package init(_ path: String, _ code: Int32 = errno) {
        self.path = path
        self.code = code
    }

    package var reason: String {
        code == EWOULDBLOCK ? "another process is writing it" : String(cString: strerror(code))
    }

    package var description: String { "\(path): \(reason)" }

    /// What helps where it was to be written.
    package var remedy: String {
        switch code {
        case ENOENT, ENOTDIR: "name a file in a directory that is there"
        case EISDIR: "name a file, not a directory"
        case EACCES, EPERM, EROFS: "name a file in a directory that you may write to"
        case ENOSPC, EDQUOT, EFBIG: "make room for it"
        case EWOULDBLOCK: "wait until that has ended"
        default: "name another file"
        }
    }
}
