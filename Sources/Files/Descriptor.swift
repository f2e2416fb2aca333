import Foundation

/// What can be done with an open file, whatever it is.
enum Descriptor {
    /// Writes all of `bytes`, and waits where that takes a reader.
    /// - Parameter name: for errors.
    static func write(_ bytes: Data, to descriptor: Int32, name: String) throws(FileError) {
        let code = bytes.withUnsafeBytes { bytes -> Int32 in
            var rest = bytes
            while !rest.isEmpty {
                let count = Foundation.write(descriptor, rest.baseAddress, rest.count)
                if count >= 0 {
                    rest = UnsafeRawBufferPointer(rebasing: rest[count...])
                    continue
                }
                let code = errno
                if code == EAGAIN {
                    // Another program that has it, too, asked not to be kept waiting.
                    var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    poll(&ready, 1, -1)
                } else if code != EINTR {
                    return code
                }
            }
            return 0
        }
        guard code == 0 else { throw FileError(name, code) }
    }
}
