import Foundation

/// Where results go. What is lost on the way is an error.
package enum StandardOutput {
    package static let name = "standard output"

    /// Nobody reads any more, in a process that no signal ends for it.
    package static let isClosed = FileError(name, EPIPE)

    /// Lets `body` write, of whom a reader that has gone does not matter.
    package static func toReader(_ body: () throws -> Void) throws {
        do { try body() } catch let error as FileError where error == isClosed {}
    }

    /// Writes all of it, at once.
    package static func write(_ text: String) throws(FileError) { try write(Data(text.utf8)) }

    package static func write(_ bytes: Data) throws(FileError) {
        try Descriptor.write(bytes, to: STDOUT_FILENO, name: name)
    }
}
