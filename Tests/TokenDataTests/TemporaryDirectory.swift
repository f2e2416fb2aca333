import Foundation
import TokenData

/// A directory of a test's own, removed with the value.
final class TemporaryDirectory {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appending(path: "token-data-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func path(_ name: String) -> String { path + "/" + name }

    func write(_ bytes: some Sequence<UInt8>, to name: String) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: path(name)))
        return path(name)
    }

    func write(tokens: [UInt16], to name: String = "tokens.bin") throws -> String {
        try write(tokens.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] }, to: name)
    }

    var names: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
    }
}

extension TokenFile {
    var tokens: [UInt32] { (0..<count).map { self[$0] } }
}
