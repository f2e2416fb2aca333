import Checkpoints
import Layers
import Tensors
import TokenData

extension TokenFile {
    /// The SHA-256 of samples, which tells files of one length apart.
    var digest: String {
        let hash = RunningHash()
        sample { tokens in tokens.map(\.littleEndian).withUnsafeBytes { hash.update($0) } }
        return hash.digest
    }
}

extension WeightSource {
    /// The SHA-256 of a row each of some of `weights`, whatever files these lie in.
    func digest(of weights: [(name: String, shape: [Int])]) throws -> String {
        let hash = RunningHash()
        let count = min(weights.count, 256)
        for index in 0..<count {
            let (name, shape) = weights[weights.count * index / count]
            let row = shape.dropLast().reduce(1, *) / 2
            let values = Tensor(rows: 1, columns: shape.last ?? 1)
            try load(name, shape: shape, rows: row..<row + 1, columns: 0..<values.columns, into: values)
            values.array.withUnsafeBytes { hash.update($0) }
        }
        return hash.digest
    }
}
