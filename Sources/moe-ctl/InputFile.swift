import ExpertPlacement
import Foundation
import Listings

/// Files that commands read; `-` is standard input.
enum InputFile {
    /// Bytes beyond which a file is not what it should be.
    private static let sizeLimit = 256 << 20

    static func name(_ path: String) -> String { path == "-" ? "standard input" : path }

    static func read(_ path: String) throws -> Data {
        do {
            let handle = path == "-" ? FileHandle.standardInput : try FileHandle(forReadingFrom: URL(filePath: path))
            let data = try handle.read(upToCount: sizeLimit + 1) ?? Data()
            guard data.count <= sizeLimit else {
                throw CommandFailure("\(name(path)) has more than \(Readable.bytes(sizeLimit)); is it the right file?")
            }
            return data
        } catch let error as CocoaError {
            let cause = (error.userInfo[NSUnderlyingErrorKey] as? any Error) ?? error
            throw CommandFailure("\(name(path)) cannot be read: \(text(cause)); name a file that can")
        }
    }

    /// - Throws: `CommandFailure` when something is there of which a second reader gets nothing, such as a pipe.
    static func checkIsReadAgain(_ path: String) throws(CommandFailure) {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG else { return }
        throw CommandFailure("\(path) is not a regular file, and is read twice: write it to one first")
    }

    private static func text(_ error: any Error) -> String {
        let error = error as NSError
        guard error.domain == NSPOSIXErrorDomain else { return error.localizedDescription }
        return String(cString: strerror(Int32(error.code)))
    }

    /// What went wrong, without the decoder's words about where.
    static func cause(_ error: any Error) -> any Error {
        guard case .dataCorrupted(let context)? = error as? DecodingError else { return error }
        return context.underlyingError ?? error
    }

    /// What is wrong with what was decoded, and where.
    static func reason(_ error: any Error) -> String {
        guard let error = error as? DecodingError else { return "\(error)" }
        func place(_ context: DecodingError.Context) -> String {
            let path = context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? ".\($0.stringValue)" }.joined()
            return path.isEmpty ? "" : "at \(path.hasPrefix(".") ? String(path.dropFirst()) : path) "
        }
        switch error {
        case .keyNotFound(let key, let context): return "\(place(context))\"\(key.stringValue)\" is missing"
        case .typeMismatch(let type, let context): return "\(place(context))there is no \(name(of: type))"
        case .valueNotFound(let type, let context): return "\(place(context))there is no \(name(of: type))"
        case .dataCorrupted(let context):
            let cause = context.underlyingError as? PlacementError
            return place(context) + (cause?.description ?? "it is not well formed")
        @unknown default: return "\(error)"
        }
    }

    private static func name(of type: any Any.Type) -> String {
        switch type {
        case is Double.Type: "number"
        case is Int.Type: "whole number"
        case is String.Type: "text"
        case is any Collection.Type: "list"
        default: "object"
        }
    }
}
