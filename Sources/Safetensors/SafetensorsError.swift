import Foundation

/// Why a safetensors file cannot be read or written: the file, the tensor where one is to blame, and the cause.
public struct SafetensorsError: Error, Equatable, CustomStringConvertible {
    public let file: String
    public let tensor: String?
    public let cause: Cause

    public enum Cause: Error, Equatable {
        /// The operating system's reason.
        case system(String)
        case notRegularFile
        /// Fewer bytes than the length of the header takes.
        case noHeader(fileBytes: Int)
        case headerTooLarge(bytes: UInt64, limit: Int)
        case headerPastEnd(headerBytes: Int, fileBytes: Int)
        case headerNotJSON(String)
        case unknownElementType(String)
        case invalidShape([Int])
        case invalidOffsets([Int])
        /// The offsets span another number of bytes than the shape takes.
        case sizeDiffers(shape: [Int], elementType: SafetensorsElementType, bytes: Int)
        /// The tensor begins before the end of the one before it.
        case overlap(begin: Int, previousEnd: Int)
        /// The tensor begins past the end of the one before it.
        case gap(begin: Int, previousEnd: Int)
        /// The file holds fewer or more bytes than all tensors take.
        case dataSizeDiffers(expectedBytes: Int, actualBytes: Int)
        case missing
        case shapeDiffers(expected: [Int], actual: [Int])
        case unreadableElementType(SafetensorsElementType)
        /// The file ended where data should be: it was changed after it was opened.
        case truncatedWhileReading
        /// A writer got the tensors in another order than announced.
        case outOfOrder(expected: String?)
        case duplicate
        /// A writer was finished before it got this tensor.
        case notWritten
    }

    public init(file: String, tensor: String? = nil, cause: Cause) {
        self.file = file
        self.tensor = tensor
        self.cause = cause
    }

    public var description: String {
        if let tensor { return "\(file): tensor \"\(tensor)\": \(cause)" }
        return "\(file): \(cause)"
    }
}

extension SafetensorsError.Cause: CustomStringConvertible {
    public var description: String {
        switch self {
        case .system(let reason): reason
        case .notRegularFile: "is not a regular file"
        case .noHeader(let bytes):
            "is no safetensors file: it has \(bytes) bytes, fewer than the 8 of the header's length"
        case .headerTooLarge(let bytes, let limit):
            "is no safetensors file: its header would have \(bytes) bytes, the limit is \(limit)"
        case .headerPastEnd(let header, let file):
            "is cut short or no safetensors file: its header of \(header) bytes ends past the file's \(file) bytes"
        case .headerNotJSON(let reason): "the header is not what safetensors demands: \(reason)"
        case .unknownElementType(let name): "unknown dtype \"\(name)\""
        case .invalidShape(let shape): "impossible shape \(shape)"
        case .invalidOffsets(let offsets): "impossible data_offsets \(offsets)"
        case .sizeDiffers(let shape, let type, let bytes):
            "shape \(shape) of \(type.rawValue) does not take the \(bytes) bytes that its data_offsets span"
        case .overlap(let begin, let end): "begins at byte \(begin), before the end of the tensor before it at \(end)"
        case .gap(let begin, let end): "begins at byte \(begin), but the tensor before it ends at \(end)"
        case .dataSizeDiffers(let expected, let actual):
            "is cut short or damaged: the tensors take \(expected) bytes, the file has \(actual) for them"
        case .missing: "is not in the file"
        case .shapeDiffers(let expected, let actual): "has the shape \(actual), expected \(expected)"
        case .unreadableElementType(let type):
            "dtype \(type.rawValue) cannot be read; convert the file to F32, BF16 or F16"
        case .truncatedWhileReading: "the file ended early; was it changed while it was read?"
        case .outOfOrder(let expected):
            expected.map { "written where \"\($0)\" was announced" } ?? "written after the last one announced"
        case .duplicate: "is named twice"
        case .notWritten: "was announced, but never written"
        }
    }
}

extension SafetensorsError.Cause {
    /// The reason of the system call that just failed.
    public static func lastSystemError() -> Self { .system(String(cString: strerror(errno))) }

    /// The system's reason behind an error of Foundation.
    static func system(_ error: any Error) -> Self {
        let error = error as NSError
        let underlying = error.userInfo[NSUnderlyingErrorKey] as? NSError
        for case let error? in [error, underlying] where error.domain == NSPOSIXErrorDomain {
            return .system(String(cString: strerror(Int32(error.code))))
        }
        return .system(error.localizedDescription)
    }
}
