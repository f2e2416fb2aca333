import ControlProtocol
import Foundation

/// Files that are read as a whole.
enum WholeFile {
    static func read(_ path: String) throws(TraceError) -> Data {
        do {
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            let size = (attributes[.size] as? NSNumber)?.intValue ?? 0
            guard size <= TraceLimits.fileBytes else {
                throw TraceError(
                    path, "it has \(size) bytes, over \(TraceLimits.fileBytes)", remedy: "is it the right file?")
            }
            return try Data(contentsOf: URL(filePath: path), options: .mappedIfSafe)
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
