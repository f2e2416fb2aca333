import ControlTestSupport
import Foundation

/// A Prometheus of this machine's, with the configuration that the repository has for operators.
final class PrometheusServer: Sendable {
    struct NotStarted: Error { let output: String }
    struct NoValue: Error { let answer: String }

    private let process: Process
    private let port: UInt16
    private let folder: TemporaryFolder

    /// - Parameters:
    ///   - target: what it reads, in place of the configuration's, and every tenth of a second.
    ///   - configuration: the folder that it is in.
    init(reading target: String, configuration: URL) throws {
        folder = try TemporaryFolder()
        let text = try String(contentsOf: configuration.appending(path: "prometheus.yml"), encoding: .utf8)
            .replacingOccurrences(of: "127.0.0.1:7780", with: target).replacingOccurrences(of: "15s", with: "100ms")
            .replacingOccurrences(of: "alerts.yml", with: configuration.appending(path: "alerts.yml").path)
        try text.write(toFile: folder.path("prometheus.yml"), atomically: true, encoding: .utf8)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [
            "prometheus", "--config.file=\(folder.path("prometheus.yml"))",
            "--storage.tsdb.path=\(folder.path("data"))",
            "--web.listen-address=127.0.0.1:0",
        ]
        let output = Pipe()
        process.standardOutput = FileHandle.nullDevice
        process.standardError = output
        try process.run()
        var log = ""
        var address: UInt16?
        while address == nil {
            let bytes = output.fileHandleForReading.availableData
            guard !bytes.isEmpty else { throw NotStarted(output: log) }
            log += String(decoding: bytes, as: UTF8.self)
            address = log.firstMatch(of: /msg="Listening on" address=127\.0\.0\.1:(\d+)\n/).flatMap { UInt16($0.1) }
        }
        port = address ?? 0
        self.process = process
        // What comes later must not fill the pipe.
        output.fileHandleForReading.readabilityHandler = { if $0.availableData.isEmpty { $0.readabilityHandler = nil } }
    }

    deinit {
        process.terminate()
        process.waitUntilExit()
    }

    /// The value of an expression, once it is what is waited for.
    /// - Throws: `NoValue` after half a minute without.
    func value(of expression: String, until isAwaited: @escaping @Sendable (Double) -> Bool) async throws -> Double {
        let query = expression.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
        let port = port
        return try await blocking {
            let end = ContinuousClock.now + .seconds(30)
            var answer = ""
            while .now < end {
                answer = try HTTPQuestion("/api/v1/query?query=\(query)", port: port, headers: ["Connection: close"])
                    .body
                // [time, "value"] of the first series.
                if let match = answer.firstMatch(of: /"value":\[[0-9.]+,"([^"]+)"\]/), let value = Double(match.1),
                    isAwaited(value)
                {
                    return value
                }
            }
            throw NoValue(answer: answer)
        }
    }
}
