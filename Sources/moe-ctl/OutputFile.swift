import Foundation

/// Files that commands write.
enum OutputFile {
    static func write(_ text: String, to path: String) throws {
        do { try Data(text.utf8).write(to: URL(filePath: path), options: .atomic) } catch {
            throw CommandFailure("\(path) cannot be written; name a file in a folder that is there")
        }
    }
}
