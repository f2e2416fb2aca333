import ControlProtocol
import Foundation

/// Files that are read as a whole.
enum WholeFile {
    static func read(_ path: String) throws(TraceError) -> Data {
        let limit = TraceLimits.fileBytes
        do {
            let handle = try FileHandle(forReadingFrom: URL(filePath: path))
            defer { try? handle.close() }
            // Of what was opened, wherever a link led. A pipe has no size, and ends when it ends.
            var status = stat()
            guard fstat(handle.fileDescriptor, &status) == 0, status.st_size <= limit else {
                throw TraceError(
                    path, "it has \(status.st_size) bytes, over \(limit)", remedy: "is it the right file?")
            }
            // A large file need not be in memory all at once.
            let data =
                try status.st_mode & S_IFMT == S_IFREG
                ? Data(contentsOf: URL(filePath: path), options: .mappedIfSafe)
                : handle.read(upToCount: limit + 1) ?? Data()
            guard data.count <= limit else {
                throw TraceError(path, "it has more than \(limit) bytes", remedy: "is it the right file?")
            }
            return data
        } catch let error as TraceError {
            throw error
        } catch {
            throw TraceError(path, "it cannot be read: \(error.localizedDescription)", remedy: "name a file that can")
        }
    }

    static func decode<Value: Decodable>(
        _ type: Value.Type, from data: Data, path: String, remedy: String
    ) throws(TraceError) -> Value {
        do { return try JSONDecoder().decode(type, from: data) } catch {
            throw TraceError(path, ControlError.brief(error), remedy: remedy)
        }
    }
}
