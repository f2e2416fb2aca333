import Foundation

/// A file of events that TensorBoard shows, also while it is written. Each start of a run has one of its own; together, in one
/// directory, they are the run.
package final class EventFile {
    package let path: String
    private let handle: FileHandle

    /// Makes a file in `directory`, which is there, after those that are in it.
    /// - Parameter firstStep: what earlier files have of this step and later ones counts no more.
    package init(directory: String, firstStep: Int) throws(EventFileError) {
        let time = try Self.timeAfterOthers(in: directory)
        path =
            directory + "/" + String(format: "events.out.tfevents.%010ld.", time)
            + "\(ProcessInfo.processInfo.hostName).\(getpid())"
        let descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw EventFileError("cannot make \(path): \(String(cString: strerror(errno)))") }
        handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        try write([Self.event(step: 0) { $0.add(3, "brain.Event:2") }, Self.restart(step: firstStep)])
    }

    /// Writes at once, past any buffer.
    package func append(_ summary: Summary, step: Int) throws(EventFileError) {
        try write([Self.event(step: step) { $0.add(5, summary.message) }])
    }

    private func write(_ events: [ProtobufMessage]) throws(EventFileError) {
        do {
            try handle.write(contentsOf: Data(events.flatMap { Self.record($0.bytes) }))
        } catch {
            throw EventFileError("cannot write to \(path): \(error.localizedDescription)")
        }
    }

    /// A record of a TFRecord file (https://www.tensorflow.org/tutorials/load_data/tfrecord): its length and the data, with
    /// the checksum of each.
    private static func record(_ data: [UInt8]) -> [UInt8] {
        let length = UInt64(data.count).littleEndianBytes
        return length + CRC32C.masked(length).littleEndianBytes + data + CRC32C.masked(data).littleEndianBytes
    }

    /// `Event` of tensorboard/compat/proto/event.proto.
    private static func event(step: Int, _ content: (inout ProtobufMessage) -> Void) -> ProtobufMessage {
        var event = ProtobufMessage()
        event.add(1, Date().timeIntervalSince1970)
        event.add(2, step)
        content(&event)
        return event
    }

    /// A `SessionLog` with the status START, on which TensorBoard drops what it has of `step` and those after it.
    private static func restart(step: Int) -> ProtobufMessage {
        event(step: step) { event in
            var session = ProtobufMessage()
            session.add(1, 1)
            event.add(7, session)
        }
    }

    /// TensorBoard reads the files of a directory in the order of their names, which begin with a time. Clocks of different
    /// machines need not agree.
    private static func timeAfterOthers(in directory: String) throws(EventFileError) -> Int {
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: directory)
        } catch {
            throw EventFileError("cannot read the directory \(directory): \(error.localizedDescription)")
        }
        let times = names.compactMap { name in
            name.firstMatch(of: /tfevents\.(\d{1,10})\./).flatMap { Int($0.1) }
        }
        return max(Int(Date().timeIntervalSince1970), (times.max() ?? 0) + 1)
    }
}

/// Why an event file cannot be written.
package struct EventFileError: Error, CustomStringConvertible {
    package let description: String

    init(_ description: String) {
        self.description = description
    }
}
