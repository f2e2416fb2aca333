import Foundation

/// A tensor of numbers, as dumps have them, rows last.
struct DumpedTensor {
    let shape: [Int]
    let values: [Double]

    /// Matrix `index` of a tensor of three dimensions; of one of two, itself.
    func matrix(_ index: Int) -> [[Double]] {
        let (rows, columns) = (shape[shape.count - 2], shape[shape.count - 1])
        return (0..<rows).map { row in
            let start = (index * rows + row) * columns
            return Array(values[start..<start + columns])
        }
    }

    var matrixCount: Int { shape.count == 3 ? shape[0] : 1 }
}

/// A dictionary of tensors, lists and numbers from a .pt file, or from JSON.
indirect enum DumpValue {
    case tensor(DumpedTensor)
    case dictionary([String: DumpValue])
    case list([DumpValue])
    case number(Double)
    /// What is of no use here.
    case other

    subscript(name: String) -> DumpValue? {
        guard case .dictionary(let fields) = self else { return nil }
        return fields[name]
    }

    var tensor: DumpedTensor? {
        guard case .tensor(let tensor) = self else { return nil }
        return tensor
    }

    /// - Throws: `TraceError` when the file is neither.
    static func read(_ path: String) throws(TraceError) -> DumpValue {
        let data = try WholeFile.read(path)
        if data.starts(with: Data("PK".utf8)) { return try TorchFile.read(data, path: path) }
        guard let first = data.first(where: { !" \n\r\t".utf8.contains($0) }), "[{".utf8.contains(first) else {
            throw TraceError(
                path, "it is neither a .pt file as PyTorch 1.6 and later writes it nor JSON",
                remedy: "save the tensors with torch.save, or as JSON lists")
        }
        return try WholeFile.decode(JSONDump.self, from: data, path: path, remedy: "give lists of numbers").value
    }

    /// JSON lists of numbers, one in another, are tensors.
    private struct JSONDump: Decodable {
        let value: DumpValue

        private struct Key: CodingKey {
            let stringValue: String
            var intValue: Int? { nil }
            init(stringValue: String) { self.stringValue = stringValue }
            init?(intValue: Int) { nil }
        }

        init(from decoder: any Decoder) throws {
            if let values = try? decoder.container(keyedBy: Key.self) {
                var fields = [String: DumpValue]()
                for key in values.allKeys {
                    fields[key.stringValue] = try values.decode(JSONDump.self, forKey: key).value
                }
                value = .dictionary(fields)
                return
            }
            let single = try decoder.singleValueContainer()
            if let number = try? single.decode(Double.self) {
                value = .number(number)
            } else if let cube = try? single.decode([[[Double]]].self), let tensor = Self.tensor(cube) {
                value = .tensor(tensor)
            } else if let matrix = try? single.decode([[Double]].self), let tensor = Self.tensor([matrix]) {
                value = .tensor(DumpedTensor(shape: Array(tensor.shape.dropFirst()), values: tensor.values))
            } else if let list = try? single.decode([JSONDump].self) {
                value = .list(list.map(\.value))
            } else {
                value = .other
            }
        }

        /// Nil when rows are not of one length.
        private static func tensor(_ cube: [[[Double]]]) -> DumpedTensor? {
            let (rows, columns) = (cube.first?.count ?? 0, cube.first?.first?.count ?? 0)
            guard rows > 0, columns > 0,
                cube.allSatisfy({ $0.count == rows && $0.allSatisfy { $0.count == columns } })
            else { return nil }
            return DumpedTensor(shape: [cube.count, rows, columns], values: cube.flatMap { $0.flatMap { $0 } })
        }
    }
}
