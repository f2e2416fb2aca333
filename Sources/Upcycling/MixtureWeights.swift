import Mixtral
import Safetensors
import Tensors

/// Makes a mixture's weights of a dense model's, some rows at a time.
final class MixtureWeights {
    private let files: MixtralCheckpointFiles
    private let upcycling: Upcycling
    private let initial: RandomWeights
    /// Of dense matrices.
    private var rootMeanSquares = [String: Double]()

    init(_ files: MixtralCheckpointFiles, _ upcycling: Upcycling, initializerRange: Double) {
        self.files = files
        self.upcycling = upcycling
        initial = RandomWeights(seed: upcycling.seed, standardDeviation: initializerRange)
    }

    /// Hands the tensor's entries over, in parts that follow one another; at least one.
    /// - Throws: `UpcyclingError` when an entry is not finite, or would not be when it is written; and what `take` throws.
    func read(_ tensor: MixtureTensor, _ take: (Tensor) throws -> Void) throws {
        switch tensor.source {
        case .copy(let name):
            let (reader, shape) = try find(name)
            try forEachPart(rows: 0..<shape.rows, columns: shape.columns) { rows, part in
                try reader.read(name, rows: rows, columns: 0..<shape.columns, into: part)
                try Self.check(part, name, reader)
                try take(part)
            }
        case .block(let name, let rows, let columns, let factor, let isNoisy):
            let noise = isNoisy ? try noise(for: tensor, of: name) : nil
            let (reader, _) = try find(name)
            try forEachPart(rows: rows, columns: columns.count) { part, values in
                try reader.read(name, rows: part, columns: columns, into: values)
                try Self.check(values, name, reader)
                let own = part.lowerBound - rows.lowerBound..<part.upperBound - rows.lowerBound
                try noise?.add(rows: own, to: values)
                if factor != 1 { Self.scale(values, by: factor) }
                guard Self.fit(values, in: tensor.elementType) else {
                    throw UpcyclingError.overflow(tensor: tensor.name, type: tensor.elementType.rawValue)
                }
                try take(values)
            }
        case .router(let alikeRows):
            try drawRouter(tensor, alikeRows: alikeRows, take)
        case .zeros:
            let (rows, columns) = tensor.matrixShape
            try take(Tensor(rows: rows, columns: columns, repeating: 0))
        }
    }

    private func drawRouter(_ tensor: MixtureTensor, alikeRows: Int, _ take: (Tensor) throws -> Void) throws {
        let (rows, columns) = tensor.matrixShape
        let copies = rows / alikeRows
        for copy in 0..<copies {
            let row = Tensor(rows: 1, columns: columns)
            try initial.load(
                tensor.name, shape: [copies, columns], rows: copy..<copy + 1, columns: 0..<columns, into: row)
            for _ in 0..<alikeRows { try take(row) }
        }
    }

    // MARK: - Noise

    private struct Noise {
        let source: RandomWeights
        let name: String
        let shape: [Int]

        func add(rows: Range<Int>, to values: Tensor) throws {
            let noise = Tensor(rows: values.rows, columns: values.columns)
            try source.load(name, shape: shape, rows: rows, columns: 0..<values.columns, into: noise)
            Rows.add(noise, into: values)
        }
    }

    private func noise(for tensor: MixtureTensor, of dense: String) throws -> Noise? {
        guard upcycling.noise > 0 else { return nil }
        let deviation = upcycling.noise * (try rootMeanSquare(of: dense))
        return Noise(
            source: RandomWeights(seed: upcycling.seed, standardDeviation: deviation),
            name: "noise of \(tensor.name)", shape: tensor.shape)
    }

    private func rootMeanSquare(of name: String) throws -> Double {
        if let known = rootMeanSquares[name] { return known }
        let (reader, shape) = try find(name)
        var sum = 0.0
        try forEachPart(rows: 0..<shape.rows, columns: shape.columns) { rows, part in
            try reader.read(name, rows: rows, columns: 0..<shape.columns, into: part)
            try Self.check(part, name, reader)
            sum += Reductions.sumOfSquares(part)
        }
        let result = (sum / Double(max(1, shape.rows * shape.columns))).squareRoot()
        rootMeanSquares[name] = result
        return result
    }

    // MARK: - Parts

    /// Entries in memory at a time, in rows that are whole.
    private static let partEntries = 1 << 22

    private func forEachPart(
        rows: Range<Int>, columns: Int, _ body: (Range<Int>, Tensor) throws -> Void
    ) throws {
        let count = max(1, Self.partEntries / max(1, columns))
        for start in stride(from: rows.lowerBound, to: rows.upperBound, by: count) {
            let part = start..<min(start + count, rows.upperBound)
            try body(part, Tensor(rows: part.count, columns: columns))
        }
    }

    /// The plan has found it already.
    private func find(_ name: String) throws -> (reader: SafetensorsReader, shape: (rows: Int, columns: Int)) {
        guard let reader = files.readers[name], let entry = reader.entry(name) else {
            throw MixtralCheckpointError.tensorsDiffer(
                directory: files.directory, missing: [name], misshapen: [], surplus: [])
        }
        return (reader, entry.matrixShape)
    }

    private static func check(_ values: Tensor, _ name: String, _ reader: SafetensorsReader) throws(UpcyclingError) {
        guard Reductions.allFinite(values) else { throw .notFinite(tensor: name, file: reader.path) }
    }

    private static func fit(_ values: Tensor, in type: SafetensorsElementType) -> Bool {
        let (entries, bound) = (values.span, type.overflow)
        for index in entries.indices where !(entries[index].magnitude < bound) { return false }
        return true
    }

    private static func scale(_ values: Tensor, by factor: Float) {
        var entries = values.mutableSpan
        for index in entries.indices { entries[index] *= factor }
    }
}

extension MixtureTensor {
    fileprivate var matrixShape: (rows: Int, columns: Int) { (shape.dropLast().reduce(1, *), shape.last ?? 1) }
}
