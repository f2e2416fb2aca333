/// Loads as DeepSeek's EPLB takes them (github.com/deepseek-ai/EPLB, `rebalance_experts(weight, …)`).
enum LoadMatrices {
    static func read(_ path: String, into sink: inout TraceSink) throws(TraceError) {
        let matrices = try WholeFile.decode(
            Matrices.self, from: WholeFile.read(path), path: path,
            remedy: "give a JSON list with a list of numbers for each layer, or a list of such matrices")
        for (index, matrix) in matrices.all.enumerated() { try sink.add(matrix, place: "matrix \(index)") }
    }

    /// A matrix, or a list of them.
    struct Matrices: Decodable {
        let all: [[[Double]]]

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            // The first number's depth decides, so that errors are about the form that was meant.
            var outer = try decoder.unkeyedContainer()
            var isMatrix = true
            if !outer.isAtEnd {
                var row = try outer.nestedUnkeyedContainer()
                isMatrix = row.isAtEnd || (try? row.nestedUnkeyedContainer()) == nil
            }
            all = try isMatrix ? [container.decode([[Double]].self)] : container.decode([[[Double]]].self)
        }
    }
}
