import ExpertPlacement

/// Checks of single fields. Each error names the field, what was found and what may stand there.
struct Validation {
    let limits: Limits

    func integer(_ value: Int, _ field: String, in range: ClosedRange<Int>) throws(ControlError) {
        guard range.contains(value) else {
            let code: ControlError.Code = value > range.upperBound ? .limitExceeded : .badRequest
            throw ControlError(
                code, "\(field) is \(value), but must be from \(range.lowerBound) to \(range.upperBound)")
        }
    }

    /// A count, step or number of bytes.
    func count(_ value: Int, _ field: String) throws(ControlError) {
        try integer(value, field, in: 0...limits.integer)
    }

    func seconds(_ value: Double, _ field: String) throws(ControlError) {
        guard (0...limits.seconds).contains(value) else {
            let code: ControlError.Code = value > limits.seconds ? .limitExceeded : .badRequest
            throw ControlError(code, "\(field) is \(value), but must be from 0 to \(limits.seconds)")
        }
    }

    /// Text that is shown to people: no control characters.
    func text(_ value: String, _ field: String, bytes limit: Int, mayBeEmpty: Bool = false) throws(ControlError) {
        guard value.utf8.count <= limit else {
            throw ControlError(
                .limitExceeded, "\(field) has \(value.utf8.count) bytes, over the limit of \(limit)")
        }
        guard mayBeEmpty || !value.isEmpty else { throw ControlError(.badRequest, "\(field) is empty") }
        // All that there will ever be (category Cc; Unicode's stability policy).
        guard !value.unicodeScalars.contains(where: { $0.value < 0x20 || 0x7F...0x9F ~= $0.value }) else {
            throw ControlError(.badRequest, "\(field) has a control character")
        }
    }

    func runName(_ value: String) throws(ControlError) {
        try text(value, "run", bytes: limits.runNameBytes)
        guard RunName.isValid(value) else {
            throw ControlError(.badRequest, "run \"\(value)\": \(RunName.rule)")
        }
    }

    func model(_ model: ExpertModel) throws(ControlError) {
        try integer(model.hiddenSize, "model.hidden_size", in: 1...limits.width)
        try integer(model.layers.count, "the number of model.layers", in: 1...limits.layers)
        var experts = 0
        for (layer, widths) in model.layers.enumerated() {
            try integer(widths.count, "the number of experts in model.layers[\(layer)]", in: 0...limits.expertsPerLayer)
            for width in widths { try integer(width, "a width in model.layers[\(layer)]", in: 1...limits.width) }
            experts += widths.count
        }
        try integer(experts, "the number of experts in model.layers", in: 0...limits.experts)
        try integer(model.size, "model.hidden_size times all widths in model.layers", in: 0...limits.modelSize)
    }

    func plan(_ plan: PlacementPlan) throws(ControlError) {
        try integer(plan.listedRanks, "the number of ranks in the plan's meshes", in: 0...limits.planRanks)
    }

    func experts(_ experts: [ExpertID], _ field: String) throws(ControlError) {
        try integer(experts.count, "the number of experts in \(field)", in: 0...limits.experts)
        for expert in experts {
            try integer(expert.layer, "a layer in \(field)", in: 0...limits.layers - 1)
            try integer(expert.expert, "an expert in \(field)", in: 0...limits.expertsPerLayer - 1)
        }
    }

    /// Counts by [layer][expert].
    func loads(_ loads: [[Int]]) throws(ControlError) {
        try integer(loads.count, "the number of layers in sample.expert_loads", in: 0...limits.layers)
        for (layer, row) in loads.enumerated() {
            try integer(
                row.count, "the number of experts in sample.expert_loads[\(layer)]", in: 0...limits.expertsPerLayer)
            for load in row { try count(load, "a load in sample.expert_loads[\(layer)]") }
        }
    }

    /// Pairs by layer that found no place, of those that chose the layer's experts.
    /// - Parameter loads: what the experts computed, by [layer][expert]; so nothing can be dropped that was not routed.
    func dropped(_ dropped: [Int], beside loads: [[Int]]?) throws(ControlError) {
        guard let loads, dropped.count == loads.count else {
            throw ControlError(
                .badRequest,
                "sample.dropped_tokens has \(dropped.count) numbers, but must have one for each layer of "
                    + "sample.expert_loads, with which it is sent")
        }
        for (layer, pairs) in dropped.enumerated() {
            try count(pairs, "sample.dropped_tokens[\(layer)]")
            guard pairs == 0 || !loads[layer].isEmpty else {
                throw ControlError(
                    .badRequest, "sample.dropped_tokens[\(layer)] is \(pairs), but the layer has no experts")
            }
        }
    }
}

/// The rule for names of runs: they stand in file names, URLs and shell commands.
public enum RunName {
    public static let rule = "a name has letters, digits and . _ - : + @ and begins with a letter or digit"

    public static func isValid(_ name: String) -> Bool {
        func isPlain(_ byte: UInt8) -> Bool {
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
        }
        guard let first = name.utf8.first, isPlain(first), name.utf8.count <= Limits.standard.runNameBytes else {
            return false
        }
        return name.utf8.allSatisfy { isPlain($0) || Array("._-:+@".utf8).contains($0) }
    }
}
