import Foundation

/// A file that `torch.save` wrote: a zip file with a pickle, and the bytes of each storage beside it.
struct TorchFile {
    private let archive: ZipFile
    /// The folder that all entries are in.
    private let folder: String
    private let path: String
    /// Lists, entries and tensors, and numbers of tensors, that there is still room for: a small pickle can name the same ones
    /// again and again.
    private var itemsLeft = TraceLimits.items
    private var numbersLeft: Int

    private static let remedy = "save plain dictionaries, lists and tensors with torch.save"

    static func read(_ data: Data, path: String) throws(TraceError) -> DumpValue {
        do {
            let zip = try ZipFile(data)
            guard let name = zip.entries.keys.filter({ $0.hasSuffix("/data.pkl") }).min(), let pickle = zip.bytes(name)
            else { throw ZipFile.Damaged(description: "it is a zip file, but none that torch.save wrote") }
            var file = TorchFile(
                archive: zip, folder: String(name.dropLast("data.pkl".count)), path: path, numbersLeft: 4 * data.count)
            if let order = zip.bytes(file.folder + "byteorder"), order != Data("little".utf8) {
                throw ZipFile.Damaged(description: "its numbers are big-endian")
            }
            return try Pickle.read(pickle) { try file.value($0, depth: 0) }
        } catch let error as TraceError {
            throw error
        } catch {
            throw TraceError(path, "\(error)", remedy: Self.remedy)
        }
    }

    private static let mostDepth = 8

    private mutating func value(_ pickled: Pickle.Value, depth: Int) throws -> DumpValue {
        guard depth <= Self.mostDepth else { return .other }
        itemsLeft -= 1
        guard itemsLeft >= 0 else {
            throw ZipFile.Damaged(description: "it has more than \(TraceLimits.items) lists, entries and tensors")
        }
        switch pickled {
        case .integer(let value): return .number(Double(value))
        case .number(let value): return .number(value)
        case .list(let items), .tuple(let items): return .list(try items.values.map { try value($0, depth: depth + 1) })
        case .dictionary:
            return .dictionary(try (pickled.fields ?? [:]).mapValues { try value($0, depth: depth + 1) })
        case .object("torch._utils _rebuild_tensor_v2", let arguments): return try tensor(arguments.values)
        default: return .other
        }
    }

    /// - Parameter arguments: storage, offset, sizes, strides and more that plays no part.
    private mutating func tensor(_ arguments: [Pickle.Value]) throws -> DumpValue {
        guard arguments.count >= 4, case .persistent(let reference) = arguments[0], reference.values.count >= 5,
            case .global(let type) = reference.values[1], case .text(let key) = reference.values[2],
            case .integer(let offset) = arguments[1], let shape = Self.integers(arguments[2]),
            let strides = Self.integers(arguments[3]), shape.count == strides.count
        else { throw ZipFile.Damaged(description: "it has a tensor that is described as none is") }
        // Tensors of other kinds are not loads.
        guard let kind = ElementKind(type), (1...3).contains(shape.count) else { return .other }
        guard let bytes = archive.bytes(folder + "data/" + key) else {
            throw ZipFile.Damaged(description: "the numbers of a tensor are missing")
        }
        let values = try kind.values(bytes, offset: offset, shape: shape, strides: strides)
        // Rows without numbers may be any number of them.
        guard !values.isEmpty else { return .other }
        numbersLeft -= values.count
        guard numbersLeft >= 0 else { throw ZipFile.Damaged(description: "its tensors are larger than the file") }
        return .tensor(DumpedTensor(shape: shape, values: values))
    }

    private static func integers(_ value: Pickle.Value) -> [Int]? {
        guard case .tuple(let items) = value else { return nil }
        var integers = [Int]()
        for item in items.values {
            guard case .integer(let number) = item else { return nil }
            integers.append(number)
        }
        return integers
    }

    /// What the numbers of a storage are.
    private enum ElementKind: String {
        case byte = "ByteStorage"
        case char = "CharStorage"
        case short = "ShortStorage"
        case int = "IntStorage"
        case long = "LongStorage"
        case float = "FloatStorage"
        case double = "DoubleStorage"

        init?(_ global: String) {
            let parts = global.split(separator: " ")
            guard parts.count == 2, parts[0] == "torch", let kind = ElementKind(rawValue: String(parts[1])) else {
                return nil
            }
            self = kind
        }

        var bytes: Int {
            switch self {
            case .byte, .char: 1
            case .short: 2
            case .int, .float: 4
            case .long, .double: 8
            }
        }

        func values(_ data: Data, offset: Int, shape: [Int], strides: [Int]) throws -> [Double] {
            let damaged = ZipFile.Damaged(description: "a tensor is larger than its numbers")
            var count = 1
            var last = offset
            guard offset >= 0 else { throw damaged }
            for (size, stride) in zip(shape, strides) {
                guard size >= 0, stride >= 0, size <= TraceLimits.elements, stride <= TraceLimits.elements,
                    offset <= TraceLimits.elements
                else { throw damaged }
                let (product, overflow) = count.multipliedReportingOverflow(by: size)
                guard !overflow, product <= TraceLimits.elements else { throw damaged }
                count = product
                last += max(0, size - 1) * stride
            }
            guard count <= data.count / bytes, count == 0 || last < data.count / bytes else { throw damaged }
            // Numbers at the front move on last.
            let sizes = [Int](repeating: 1, count: 3 - shape.count) + shape
            let steps = [Int](repeating: 0, count: 3 - shape.count) + strides
            return data.withUnsafeBytes { buffer in
                var values = [Double]()
                values.reserveCapacity(count)
                for i in 0..<sizes[0] {
                    for j in 0..<sizes[1] {
                        for k in 0..<sizes[2] {
                            let index = offset + i * steps[0] + j * steps[1] + k * steps[2]
                            values.append(number(buffer, index * bytes))
                        }
                    }
                }
                return values
            }
        }

        private func number(_ buffer: UnsafeRawBufferPointer, _ offset: Int) -> Double {
            func load<Number: FixedWidthInteger & BitwiseCopyable>(_: Number.Type) -> Number {
                Number(littleEndian: buffer.loadUnaligned(fromByteOffset: offset, as: Number.self))
            }
            switch self {
            case .byte: return Double(load(UInt8.self))
            case .char: return Double(load(Int8.self))
            case .short: return Double(load(Int16.self))
            case .int: return Double(load(Int32.self))
            case .long: return Double(load(Int64.self))
            case .float: return Double(Float(bitPattern: load(UInt32.self)))
            case .double: return Double(bitPattern: load(UInt64.self))
            }
        }
    }
}
