import Foundation

/// Where results go. What is lost on the way is an error.
package enum StandardOutput {
    package static let name = "standard output"

    /// Nobody reads any more, in a process that no signal ends for it.
    package static let isClosed = FileError(name, EPIPE)

    /// Writes all of it, at once.
    package static func write(_ text: String) throws(FileError) { try write(Data(text.utf8)) }

    package static func write(_ bytes: Data) throws(FileError) {
        try Descriptor.write(bytes, to: STDOUT_FILENO, name: name)
    }
}
