import Foundation

/// What the real TensorBoard reads in a directory of event files.
public struct TensorBoardEvents: Decodable, Sendable {
    public struct Histogram: Decodable, Sendable {
        public let step: Int
        public let least: Double
        public let largest: Double
        public let count: Double
        public let sum: Double
        public let limits: [Double]
        public let counts: [Double]
    }

    /// [step, value] by tag. JSON as Python writes it may have NaN.
    public let scalars: [String: [[Double]]]
    public let histograms: [String: [Histogram]]

    /// - Throws: `ReadingError` with what Python says.
    public init(directory: String) throws {
        let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        let process = Process()
        // With tensorboard, from deploy/python.sh.
        process.executableURL = tests.deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: ".venv/bin/python")
        process.arguments = [tests.appending(path: "read_events.py").path, directory]
        let (output, errors) = (Pipe(), Pipe())
        process.standardOutput = output
        process.standardError = errors
        do {
            try process.run()
        } catch {
            throw ReadingError(description: "\(error); run deploy/python.sh")
        }
        let text = try output.fileHandleForReading.readToEnd() ?? Data()
        let complaint = String(decoding: try errors.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw ReadingError(description: complaint) }
        let decoder = JSONDecoder()
        decoder.allowsJSON5 = true
        self = try decoder.decode(Self.self, from: text)
    }

    public struct ReadingError: Error, CustomStringConvertible {
        public let description: String
    }
}
