import Layers
import Tensors

/// The weights that a `MemorySink` kept, as a source.
public struct MemoryWeights: WeightSource {
    private let tensors: [String: [Float]]

    public init(_ tensors: [String: [Float]]) {
        self.tensors = tensors
    }

    public func load(
        _ name: String, shape: [Int], rows: Range<Int>, columns: Range<Int>, into destination: Tensor
    ) throws {
        guard let values = tensors[name], values.count == shape.reduce(1, *) else {
            throw ModuleError.missingWeight(name: name, shape: shape)
        }
        let whole = Tensor(values, rows: shape.count == 2 ? shape[0] : 1, columns: shape[shape.count - 1])
        destination.copy(from: whole.rows(rows).columns(columns))
    }
}
