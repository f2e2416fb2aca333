import Foundation

/// Causal attention by its formula, in double precision.
struct AttentionReference {
    let shape: AttentionCase
    var query: [Double]
    var key: [Double]
    var value: [Double]

    private func place(_ sequence: Int, _ token: Int, _ head: Int, of heads: Int) -> Int {
        ((sequence * shape.length + token) * heads + head) * shape.dimension
    }

    /// Calls `body` with each (sequence, head, token): where its query begins, where the keys it sees begin, and the
    /// probabilities of these.
    private func forEach(_ body: (_ query: Int, _ keys: [Int], _ probabilities: [Double]) -> Void) {
        let dimension = shape.dimension
        for sequence in 0..<shape.sequences {
            for head in 0..<shape.heads {
                let keyHead = head * shape.keyValueHeads / shape.heads
                for token in 0..<shape.length {
                    let start = place(sequence, token, head, of: shape.heads)
                    let keys = (0...token).map { place(sequence, $0, keyHead, of: shape.keyValueHeads) }
                    let scores = keys.map { key in
                        (0..<dimension).reduce(0) { $0 + query[start + $1] * self.key[key + $1] }
                            / Double(dimension).squareRoot()
                    }
                    let largest = scores.max() ?? 0
                    let exponentials = scores.map { exp($0 - largest) }
                    let sum = exponentials.reduce(0, +)
                    body(start, keys, exponentials.map { $0 / sum })
                }
            }
        }
    }

    func output() -> [Double] {
        var output = [Double](repeating: 0, count: query.count)
        forEach { start, keys, probabilities in
            for (key, probability) in zip(keys, probabilities) {
                for i in 0..<shape.dimension { output[start + i] += probability * value[key + i] }
            }
        }
        return output
    }

    func gradients(of dy: [Double]) -> (query: [Double], key: [Double], value: [Double]) {
        var dq = [Double](repeating: 0, count: query.count)
        var dk = [Double](repeating: 0, count: key.count)
        var dv = dk
        let scale = 1 / Double(shape.dimension).squareRoot()
        forEach { start, keys, probabilities in
            let slopes = keys.map { key in (0..<shape.dimension).reduce(0) { $0 + dy[start + $1] * value[key + $1] } }
            let mean = dot(slopes, probabilities)
            for (index, key) in keys.enumerated() {
                let score = probabilities[index] * (slopes[index] - mean) * scale
                for i in 0..<shape.dimension {
                    dq[start + i] += score * self.key[key + i]
                    dk[key + i] += score * query[start + i]
                    dv[key + i] += probabilities[index] * dy[start + i]
                }
            }
        }
        return (dq, dk, dv)
    }
}
