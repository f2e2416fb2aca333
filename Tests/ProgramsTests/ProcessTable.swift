import Foundation

/// What Linux tells of processes under `/proc`.
enum ProcessTable {
    /// Bytes of memory that the process holds; nil when it has ended.
    static func residentBytes(of process: Int32) -> Int? {
        guard let status = try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8) else { return nil }
        for line in status.split(separator: "\n") where line.hasPrefix("VmRSS:") {
            return line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }.map { $0 * 1024 }
        }
        return nil
    }

    /// Whether the process has a handler for a signal; nil when it has ended.
    static func catches(_ signal: Int32, _ process: Int32) -> Bool? {
        guard let status = try? String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix("SigCgt:") }),
            let signals = line.split(whereSeparator: \.isWhitespace).last.flatMap({ UInt64($0, radix: 16) })
        else { return nil }
        return signals >> UInt64(signal - 1) & 1 == 1
    }

    /// The processes that `process` started and that still run.
    static func children(of process: Int32) -> [Int32] {
        let path = "/proc/\(process)/task/\(process)/children"
        guard let list = try? String(contentsOfFile: path, encoding: .utf8) else { return [] }
        return list.split(separator: " ").compactMap { Int32($0) }
    }
}
